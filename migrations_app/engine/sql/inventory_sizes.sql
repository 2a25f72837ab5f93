-- Exact sizes of tables and materialized views. Opens each one for a moment: run it with a short lock_timeout.
-- :parameters none   :versions 9.3+
SELECT c.oid::bigint, pg_catalog.pg_table_size(c.oid)
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm')
   AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'towpath')
