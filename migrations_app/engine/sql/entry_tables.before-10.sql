-- What indexes and table constraints belong to: (catalog, oid, schema, table, its kind, own name).
-- The first two columns are what an entry of a pg_dump archive carries.
-- :parameters none   :versions 9.3 to 9.6
SELECT 1259::bigint, i.indexrelid::bigint, n.nspname, c.relname, c.relkind::text, x.relname
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
  JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE i.indexrelid >= 16384 AND n.nspname !~ '^pg_toast'
UNION ALL
SELECT 2606, k.oid::bigint, n.nspname, c.relname, c.relkind::text, k.conname
  FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE k.oid >= 16384
