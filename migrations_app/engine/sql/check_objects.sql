-- Everything in user schemas that has a name of its own: catalog, kind, schema, name, oid of the table it belongs to, the
-- role that owns it.
-- Indexes and owned sequences belong to their table, everything else to itself. Members of extensions are left out, and
-- what belongs to a table that is one: no index is a member itself.
-- :parameters none   :versions 9.3+
WITH members AS (
  SELECT d.classid, d.objid FROM pg_catalog.pg_depend d WHERE d.deptype = 'e'
), owned AS (
  SELECT d.objid, min(d.refobjid::bigint) AS owner FROM pg_catalog.pg_depend d
   WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
     AND d.deptype IN ('a', 'i') AND d.refobjsubid <> 0
   GROUP BY d.objid
), spaces AS (
  SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n
   WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(temp|toast_temp)_'
)
SELECT 'relation', c.relkind::text, n.nspname::text, c.relname::text,
       coalesce(x.indrelid::bigint, o.owner, c.oid::bigint), pg_catalog.pg_get_userbyid(c.relowner)::text
  FROM pg_catalog.pg_class c
  JOIN spaces n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = c.oid
  LEFT JOIN owned o ON o.objid = c.oid AND c.relkind = 'S'
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'i', 'I', 'c')
   AND (c.oid, 'pg_catalog.pg_class'::regclass) NOT IN (SELECT objid, classid FROM members)
   AND (coalesce(x.indrelid, o.owner::oid, c.oid), 'pg_catalog.pg_class'::regclass)
       NOT IN (SELECT objid, classid FROM members)
UNION ALL
SELECT 'type', 'type', n.nspname::text, t.typname::text, t.oid::bigint, pg_catalog.pg_get_userbyid(t.typowner)::text
  FROM pg_catalog.pg_type t
  JOIN spaces n ON n.oid = t.typnamespace
 WHERE t.typtype IN ('d', 'e', 'r', 'b') AND NOT (t.typelem <> 0 AND t.typlen = -1)
   AND (t.oid, 'pg_catalog.pg_type'::regclass) NOT IN (SELECT objid, classid FROM members)
UNION ALL
SELECT 'function', 'function', n.nspname::text,
       p.proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')', p.oid::bigint,
       pg_catalog.pg_get_userbyid(p.proowner)::text
  FROM pg_catalog.pg_proc p
  JOIN spaces n ON n.oid = p.pronamespace
 WHERE (p.oid, 'pg_catalog.pg_proc'::regclass) NOT IN (SELECT objid, classid FROM members)
 ORDER BY 1, 3, 4
