-- Columns that hold rows of a child by inheritance whose own columns a restore puts in another order, also inside of domains,
-- arrays, ranges and other rows: table oid, column, child's schema, its name.
-- A dump makes a child with its parents' columns first; one that joined its parents later may have them otherwise.
-- :parameters none   :versions 9.3+   (partitions are made alone, and keep their order)
WITH RECURSIVE child AS (
  SELECT c.oid, c.reltype, n.nspname, c.relname
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
), holding(type, child) AS (
  SELECT ch.reltype, ch.oid FROM child ch JOIN moved m ON m.oid = ch.oid
  UNION
  SELECT w.whole, h.child FROM holding h JOIN (
    SELECT t.typbasetype AS part, t.oid AS whole FROM pg_catalog.pg_type t WHERE t.typtype = 'd'
    UNION ALL SELECT t.typelem, t.oid FROM pg_catalog.pg_type t WHERE t.typelem <> 0 AND t.typlen = -1
    UNION ALL SELECT r.rngsubtype, r.rngtypid FROM pg_catalog.pg_range r
    UNION ALL SELECT (pg_catalog.row_to_json(r) ->> 'rngtypid')::oid, (pg_catalog.row_to_json(r) ->> 'rngmultitypid')::oid
                FROM pg_catalog.pg_range r
    UNION ALL SELECT a.atttypid, c.reltype FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
               WHERE c.oid >= 16384 AND c.reltype <> 0 AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid >= 16384) w ON w.part = h.type
)
SELECT a.attrelid::bigint, a.attname::text, ch.nspname::text, ch.relname::text
  FROM holding h
  JOIN child ch ON ch.oid = h.child
  JOIN pg_catalog.pg_attribute a ON a.atttypid = h.type AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY 1, 2, 3, 4
