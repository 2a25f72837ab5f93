-- Columns that hold rows of a child by inheritance whose own columns a restore puts in another order: table oid, column, child.
-- A dump makes a child with its parents' columns first; one that joined its parents later may have them otherwise.
-- :parameters none   :versions 9.3+   (partitions are made alone, and keep their order)
WITH RECURSIVE child AS (
  SELECT c.oid, c.reltype, n.nspname || '.' || c.relname AS name
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind = 'r' AND NOT coalesce((pg_catalog.row_to_json(c) ->> 'relispartition')::boolean, false)
     AND c.oid IN (SELECT inhrelid FROM pg_catalog.pg_inherits)
), named AS (
  SELECT ch.oid, p.attname, 0 AS own, i.inhseqno AS parent, p.attnum
    FROM child ch JOIN pg_catalog.pg_inherits i ON i.inhrelid = ch.oid
    JOIN pg_catalog.pg_attribute p ON p.attrelid = i.inhparent AND p.attnum > 0 AND NOT p.attisdropped
  UNION ALL
  SELECT ch.oid, a.attname, 1, 0, a.attnum
    FROM child ch JOIN pg_catalog.pg_attribute a ON a.attrelid = ch.oid AND a.attnum > 0 AND NOT a.attisdropped
), placed AS (
  SELECT f.oid, array_agg(f.attname ORDER BY f.own, f.parent, f.attnum) AS names
    FROM (SELECT DISTINCT ON (oid, attname) * FROM named ORDER BY oid, attname, own, parent, attnum) f GROUP BY f.oid
), moved AS (
  SELECT p.oid FROM placed p
   WHERE p.names <> (SELECT array_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
                      WHERE a.attrelid = p.oid AND a.attnum > 0 AND NOT a.attisdropped)
  UNION
  SELECT i.inhrelid FROM moved m JOIN pg_catalog.pg_inherits i ON i.inhparent = m.oid
)
SELECT DISTINCT a.attrelid::bigint, a.attname::text, ch.name::text
  FROM child ch JOIN moved m ON m.oid = ch.oid
  JOIN pg_catalog.pg_type t ON t.oid = ch.reltype OR t.typelem = ch.reltype OR (t.typtype = 'd' AND t.typbasetype = ch.reltype)
  JOIN pg_catalog.pg_attribute a ON a.atttypid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY 1, 2, 3
