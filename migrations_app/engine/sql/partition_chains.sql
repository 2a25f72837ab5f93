-- Partitions that hold rows, each with the partitioned tables above it from below: oid, schema and name of both, and how far above.
-- :parameters none   :versions 9.3+
WITH RECURSIVE up(leaf, above, steps) AS (
  SELECT i.inhrelid, i.inhparent, 1 FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relkind = 'p'
  UNION ALL
  SELECT up.leaf, i.inhparent, up.steps + 1 FROM up JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.above
)
SELECT c.oid::bigint, n.nspname::text, c.relname::text, p.oid::bigint, s.nspname::text, p.relname::text
  FROM up
  JOIN pg_catalog.pg_class c ON c.oid = up.leaf AND c.relkind = 'r'
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_class p ON p.oid = up.above
  JOIN pg_catalog.pg_namespace s ON s.oid = p.relnamespace
 ORDER BY c.oid, up.steps
