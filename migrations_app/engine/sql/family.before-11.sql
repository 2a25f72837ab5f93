-- A table with all whose columns change with its own: what is below it, or below the topmost partitioned table above it. Locks no table.
-- Of each: the topmost one of them all, its file, the highest attnum ever; names and places of its columns, which are generated, and what rows of
-- before hold (`filled` of `shape.sql`).
-- :parameters oid (oid)   :versions 9.3 to 10
WITH RECURSIVE up(relid, n) AS (
  SELECT %(oid)s::oid, 0
  UNION ALL
  SELECT i.inhparent, up.n + 1
    FROM up JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.relid
    JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relkind = 'p'
), top(relid) AS (
  SELECT up.relid FROM up ORDER BY up.n DESC LIMIT 1
), down(relid) AS (
  SELECT top.relid FROM top
  UNION
  SELECT i.inhrelid FROM down JOIN pg_catalog.pg_inherits i ON i.inhparent = down.relid
)
SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text, top.relid::bigint, c.relfilenode::bigint, c.relnatts::int,
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
       ARRAY(SELECT a.attnum::int FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
       ARRAY(SELECT false FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
       ARRAY(SELECT NULL::text FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)
  FROM top, down
  JOIN pg_catalog.pg_class c ON c.oid = down.relid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p')
