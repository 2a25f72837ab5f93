-- Foreign keys: constraint oid, child oid, parent oid, schema and name of the child, name of the constraint. Not those
-- that servers make themselves below a key of or to a partitioned table (conparentid exists since 11).
-- :parameters none   :versions 9.3+
SELECT k.oid::bigint, k.conrelid::bigint, k.confrelid::bigint, n.nspname::text, c.relname::text, k.conname::text
  FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE k.contype = 'f' AND coalesce(pg_catalog.row_to_json(k) ->> 'conparentid', '0') = '0'
