-- Columns of partitions with an identity: table oid, column. Before 17 it is the partition's own, whatever its parent has.
-- :parameters none   :versions 10+   (before, no column has an identity)
SELECT c.oid::bigint, a.attname::text
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relispartition AND c.relkind IN ('r', 'p') AND a.attidentity <> ''
 ORDER BY c.oid, a.attnum
