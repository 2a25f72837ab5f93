-- What stands in a database of the target: schemas (name empty), relations with the estimate of their rows, functions with
-- their arguments, types and domains: names as inventory_along writes them. A negative estimate: nobody has counted yet.
-- :parameters none   :versions 10+   :needs an empty search_path
WITH schemas AS (
  SELECT n.oid, n.nspname::text AS name FROM pg_catalog.pg_namespace n
   WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'towpath')
     AND n.nspname !~ '^pg_(temp|toast_temp)_'
)
SELECT s.name, c.relname::text, c.relkind::text, c.relispartition, c.reltuples::bigint
  FROM schemas s
  LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = s.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
UNION ALL
SELECT s.name, p.proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')', 'function', false, -1
  FROM schemas s JOIN pg_catalog.pg_proc p ON p.pronamespace = s.oid
UNION ALL
SELECT s.name, t.typname::text, 'type', false, -1
  FROM schemas s
  JOIN pg_catalog.pg_type t ON t.typnamespace = s.oid
  LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
 WHERE t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND c.relkind = 'c') OR (t.typtype = 'b' AND t.typelem = 0)
