-- Foreign tables: schema, name.
-- :parameters none   :versions 9.3+
SELECT n.nspname::text, c.relname::text
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'f' ORDER BY 1, 2
