-- Row security and its policies as objects.sql tells them.
-- :parameters none   :versions 9.5+   (relforcerowsecurity is read through row_to_json: the first 9.5 did not know it)
WITH space AS (
  SELECT oid, nspname FROM pg_catalog.pg_namespace
   WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'towpath') AND nspname !~ '^pg_(temp|toast_temp)_'
), member AS (
  SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'
), rel AS (
  SELECT c.oid, c.relname, c.relrowsecurity, s.nspname,
         coalesce((pg_catalog.row_to_json(c) ->> 'relforcerowsecurity')::boolean, false) AS forced FROM pg_catalog.pg_class c JOIN space s ON s.oid = c.relnamespace
   WHERE c.relpersistence <> 't' AND NOT EXISTS (
     SELECT 1 FROM member m WHERE m.classid = 'pg_catalog.pg_class'::regclass AND m.objid = c.oid)
)
SELECT 'row security', c.nspname, c.relname, '', c.forced::text, true FROM rel c WHERE c.relrowsecurity
UNION ALL
SELECT 'policy', t.nspname, t.relname, p.polname, '', true
  FROM pg_catalog.pg_policy p JOIN rel t ON t.oid = p.polrelid
 ORDER BY 1, 2, 3, 4
