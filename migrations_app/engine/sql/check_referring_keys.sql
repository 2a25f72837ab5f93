-- Foreign keys with both ends: schema and name of the table, name of the key, schema and name of the table that it refers to. Not
-- those that servers make themselves below a key of or to a partitioned table (conparentid exists since 11).
-- :parameters none   :versions 10+
SELECT n.nspname::text, c.relname::text, k.conname::text, m.nspname::text, p.relname::text
  FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_class p ON p.oid = k.confrelid JOIN pg_catalog.pg_namespace m ON m.oid = p.relnamespace
 WHERE k.contype = 'f' AND coalesce(pg_catalog.to_jsonb(k) ->> 'conparentid', '0') = '0'
 ORDER BY 1, 2, 3
