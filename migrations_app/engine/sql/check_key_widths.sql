-- Average width of key columns as the statistics know it: table oid, column, bytes. Only what the account may read.
-- :parameters none   :versions 9.3+
SELECT x.indrelid::bigint, a.attname::text, s.avg_width
  FROM pg_catalog.pg_index x
  JOIN pg_catalog.pg_class c ON c.oid = x.indrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (x.indkey::pg_catalog.int2[])
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  JOIN pg_catalog.pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname
 WHERE x.indisprimary AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND s.avg_width > 0
   AND t.oid < 16384 AND t.typname IN ('text', 'varchar', 'bpchar', 'bytea', 'jsonb')
 ORDER BY 3 DESC, 2
