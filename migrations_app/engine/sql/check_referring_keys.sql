-- Foreign keys with both ends: schema and name of the table, name of the key, schema and name of a table that it refers to. A key
-- to a partitioned table leads to each of its partitions as well, by one that the server has made below it (conparentid exists since
-- 11): those are told by the table and the name of the topmost one, which can be dropped.
-- :parameters none   :versions 10+
WITH RECURSIVE key AS (
  SELECT k.oid, k.conname, k.conrelid, k.confrelid, coalesce((pg_catalog.to_jsonb(k) ->> 'conparentid')::oid, 0) AS parent
    FROM pg_catalog.pg_constraint k WHERE k.contype = 'f'
), up AS (
  SELECT key.conname, key.conrelid, key.confrelid, key.parent FROM key
  UNION ALL
  SELECT key.conname, key.conrelid, up.confrelid, key.parent FROM up JOIN key ON key.oid = up.parent
)
SELECT DISTINCT n.nspname::text, c.relname::text, up.conname::text, m.nspname::text, p.relname::text
  FROM up
  JOIN pg_catalog.pg_class c ON c.oid = up.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_class p ON p.oid = up.confrelid JOIN pg_catalog.pg_namespace m ON m.oid = p.relnamespace
 WHERE up.parent = 0
 ORDER BY 1, 2, 3, 4, 5
