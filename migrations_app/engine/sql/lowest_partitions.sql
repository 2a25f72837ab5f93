-- The lowest partitions below the given tables, but for unlogged ones: oid, schema, name, oid of the given one. Locks no table.
-- :parameters tops (oid[])   :versions 10+
WITH RECURSIVE down(top, relid) AS (
  SELECT t.oid, t.oid FROM unnest(%(tops)s::oid[]) t(oid)
  UNION ALL
  SELECT down.top, i.inhrelid
    FROM down JOIN pg_catalog.pg_class p ON p.oid = down.relid AND p.relkind = 'p'
    JOIN pg_catalog.pg_inherits i ON i.inhparent = down.relid
)
SELECT c.oid::bigint, n.nspname::text, c.relname::text, down.top::bigint
  FROM down JOIN pg_catalog.pg_class c ON c.oid = down.relid AND c.relkind = 'r' AND c.relpersistence = 'p'
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE down.relid <> down.top
