-- What comes along with its schema: sequences, functions with their arguments, types and domains. No extension members.
-- :parameters none   :versions 9.3+
WITH members AS (
  SELECT d.classid, d.objid FROM pg_catalog.pg_depend d
   WHERE d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e'
), schemas AS (
  SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n
   WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'towpath')
     AND n.nspname !~ '^pg_(temp|toast_temp)_'
), found AS (
  SELECT 'pg_catalog.pg_class'::regclass AS classid, c.oid, c.relnamespace AS space, c.relname::text AS name,
         'sequence' AS kind
    FROM pg_catalog.pg_class c WHERE c.relkind = 'S' AND c.relpersistence <> 't'
  UNION ALL
  SELECT 'pg_catalog.pg_proc'::regclass, p.oid, p.pronamespace,
         p.proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')', 'function'
    FROM pg_catalog.pg_proc p WHERE p.oid >= 16384
  UNION ALL
  SELECT 'pg_catalog.pg_type'::regclass, t.oid, t.typnamespace, t.typname::text, 'type'
    FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
   WHERE t.oid >= 16384 AND (t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND c.relkind = 'c')
         OR (t.typtype = 'b' AND t.typelem = 0))
)
SELECT s.nspname::text, f.name, f.kind
  FROM found f JOIN schemas s ON s.oid = f.space
  LEFT JOIN members m ON m.classid = f.classid AND m.objid = f.oid
 WHERE m.objid IS NULL
 ORDER BY 1, 2
