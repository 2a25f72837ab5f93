-- Keys that partitioned tables have by exclusion (exclusion constraints, keys WITHOUT OVERLAPS), whole on all partitions: the topmost one,
-- and each of its kind on the tables of its tree, itself included: oid of the topmost, own oid, schema, table, name.
-- :parameters none   :versions 17+
WITH RECURSIVE keys AS (
  SELECT k.oid AS top, k.oid, k.conrelid, k.conname
    FROM pg_catalog.pg_constraint k
    JOIN pg_catalog.pg_index i ON i.indexrelid = k.conindid
    JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
   WHERE c.relkind = 'p' AND i.indisexclusion AND i.indisvalid AND k.contype IN ('p', 'u', 'x') AND k.conparentid = 0
   UNION ALL
  SELECT o.top, k.oid, k.conrelid, k.conname
    FROM keys o
    JOIN pg_catalog.pg_constraint k ON k.conparentid = o.oid AND k.contype IN ('p', 'u', 'x')
)
SELECT o.top::bigint, o.oid::bigint, n.nspname::text, c.relname::text, o.conname::text
  FROM keys o
  JOIN pg_catalog.pg_class c ON c.oid = o.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 ORDER BY o.top, o.oid
