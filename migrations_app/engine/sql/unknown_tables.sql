-- Tables with rows of their own beside those that are known: oid, schema, name, whether it is unlogged; for a partition oid, schema and
-- name of the topmost table above it, and whether another partition of that is known. What belongs to an extension is left out. Locks no table.
-- :parameters known (oid[])   :versions 9.3+
WITH RECURSIVE up(leaf, above) AS (
  SELECT i.inhrelid, i.inhparent FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class p ON p.oid = i.inhparent WHERE p.relkind = 'p'
  UNION ALL
  SELECT up.leaf, i.inhparent FROM up JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.above
), tops AS (
  SELECT leaf, above FROM up WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_inherits i WHERE i.inhrelid = up.above)
), known(oid) AS (
  SELECT unnest(%(known)s::oid[])
)
SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relpersistence = 'u', t.above::bigint, m.nspname::text, r.relname::text,
       coalesce(t.above IN (SELECT k.above FROM tops k JOIN known o ON o.oid = k.leaf), false)
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN tops t ON t.leaf = c.oid
  LEFT JOIN pg_catalog.pg_class r ON r.oid = t.above
  LEFT JOIN pg_catalog.pg_namespace m ON m.oid = r.relnamespace
 WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND c.oid NOT IN (SELECT oid FROM known)
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'towpath') AND n.nspname !~ '^pg_(temp|toast_temp)_'
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY 2, 3
