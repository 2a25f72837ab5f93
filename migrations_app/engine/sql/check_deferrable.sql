-- Deferrable keys: table oid, constraint, whether it is the primary key.
-- :parameters none   :versions 9.3+
SELECT k.conrelid::bigint, k.conname::text, k.contype = 'p'
  FROM pg_catalog.pg_constraint k
 WHERE k.condeferrable AND k.contype IN ('p', 'u', 'x')
 ORDER BY 2
