-- What stands in a database of the target: schemas (name empty) and relations, with the estimate of their rows.
-- A negative estimate means that nobody has counted yet.
-- :parameters none   :versions 10+
SELECT n.nspname::text, c.relname::text, c.relkind::text, c.relispartition, c.reltuples::bigint
  FROM pg_catalog.pg_namespace n
  LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
 WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'towpath')
   AND n.nspname !~ '^pg_(temp|toast_temp)_'
