-- Partitions with the partitioned table directly above each: oid, schema and name of both. Locks no table.
-- :parameters none   :versions 9.3+   (none before 10)
SELECT c.oid::bigint, n.nspname::text, c.relname::text, p.oid::bigint, m.nspname::text, p.relname::text
  FROM pg_catalog.pg_inherits i
  JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relkind = 'p'
  JOIN pg_catalog.pg_namespace m ON m.oid = p.relnamespace
 WHERE c.relkind IN ('r', 'p')
