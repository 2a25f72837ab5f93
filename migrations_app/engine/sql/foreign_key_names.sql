-- The foreign keys that stand: schema, table, name.
-- :parameters none   :versions 10+
SELECT n.nspname::text, c.relname::text, k.conname::text
  FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE k.contype = 'f'
