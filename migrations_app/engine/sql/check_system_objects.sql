-- What somebody has made in the schemas of the system, where a dump does not look: kind, name, the role that owns it.
-- Everything that came with the server has an oid below 16384; `lowest` is the first that counts. Members of extensions come
-- with these.
-- :parameters lowest   :versions 9.3+
WITH spaces AS (
  SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname IN ('pg_catalog', 'information_schema')
), members AS (
  SELECT d.classid, d.objid FROM pg_catalog.pg_depend d WHERE d.deptype = 'e'
)
SELECT 'relation', n.nspname || '.' || c.relname, pg_catalog.pg_get_userbyid(c.relowner)::text
  FROM pg_catalog.pg_class c JOIN spaces n ON n.oid = c.relnamespace
 WHERE c.oid >= %(lowest)s AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
   AND (c.oid, 'pg_catalog.pg_class'::pg_catalog.regclass) NOT IN (SELECT objid, classid FROM members)
UNION ALL
SELECT 'function', n.nspname || '.' || p.proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')',
       pg_catalog.pg_get_userbyid(p.proowner)::text
  FROM pg_catalog.pg_proc p JOIN spaces n ON n.oid = p.pronamespace
 WHERE p.oid >= %(lowest)s AND (p.oid, 'pg_catalog.pg_proc'::pg_catalog.regclass) NOT IN (SELECT objid, classid FROM members)
UNION ALL
SELECT 'type', n.nspname || '.' || t.typname, pg_catalog.pg_get_userbyid(t.typowner)::text
  FROM pg_catalog.pg_type t JOIN spaces n ON n.oid = t.typnamespace
 WHERE t.oid >= %(lowest)s AND t.typtype IN ('b', 'd', 'e', 'r') AND NOT (t.typelem <> 0 AND t.typlen = -1)
   AND (t.oid, 'pg_catalog.pg_type'::pg_catalog.regclass) NOT IN (SELECT objid, classid FROM members)
UNION ALL
SELECT 'operator', n.nspname || '.' || o.oprname || '(' || pg_catalog.format_type(o.oprleft, NULL) || ','
       || pg_catalog.format_type(o.oprright, NULL) || ')', pg_catalog.pg_get_userbyid(o.oprowner)::text
  FROM pg_catalog.pg_operator o JOIN spaces n ON n.oid = o.oprnamespace
 WHERE o.oid >= %(lowest)s AND (o.oid, 'pg_catalog.pg_operator'::pg_catalog.regclass) NOT IN (SELECT objid, classid FROM members)
 ORDER BY 2, 1
