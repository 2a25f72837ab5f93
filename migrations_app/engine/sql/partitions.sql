-- A partition and the partitioned tables above it that are partitions themselves, from below: oid, schema and name, schema and name of
-- what it is a partition of, its bounds, whether it was made as a partition, and by what it is partitioned itself ('': it holds rows).
-- One that was attached may hold rows that the stream never told. Whoever creates a partition writes all of its entries in one transaction,
-- and attaching changes the entry of each column by the same command that writes the one of the inheritance. Recovery forgets
-- the commands of what it writes again (0), which are never the first ones here: then nothing is certain. It keeps those of whole pages:
-- from the columns to the inheritance it is 4 commands at most where a partition is made (10 to 18), and 5 and more where a table
-- with a TOAST table was attached. One without may look the same. So two more columns: which
-- transaction made it a partition, and whether only the absence of a crash makes it certain (`made_partitions`).
-- :parameters oid   :versions 10+   (no row: it is none)
WITH RECURSIVE up(oid, n) AS (
  SELECT c.oid, 1 FROM pg_catalog.pg_class c WHERE c.oid = %(oid)s AND c.relispartition
  UNION ALL
  SELECT i.inhparent, up.n + 1 FROM up
    JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.oid
    JOIN pg_catalog.pg_class c ON c.oid = i.inhparent AND c.relispartition
)
SELECT c.oid::bigint, m.nspname::text, c.relname::text, n.nspname::text, p.relname::text,
       pg_catalog.pg_get_expr(c.relpartbound, c.oid),
       i.xmin = a.xmin AND i.cmin::text <> '0' AND (c.xmin <> i.xmin OR c.cmin::text <> '0')
         AND i.cmin::text::bigint - a.cmin::text::bigint BETWEEN 0 AND 4
         AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_attribute b WHERE b.attrelid = c.oid AND b.attnum > 0
                            AND b.xmin = i.xmin AND b.cmin = i.cmin),
       coalesce(pg_catalog.pg_get_partkeydef(c.oid), ''), i.xmin::text,
       c.reltoastrelid = 0
  FROM up
  JOIN pg_catalog.pg_class c ON c.oid = up.oid
  JOIN pg_catalog.pg_namespace m ON m.oid = c.relnamespace
  JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = -1
  JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
  JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
 WHERE c.relkind IN ('r', 'p')
 ORDER BY up.n
