-- Unique indexes that REPLICA IDENTITY USING INDEX accepts, the smallest of each table.
-- :parameters oids of tables   :versions 9.4+   (columns that are only included need no NOT NULL)
SELECT DISTINCT ON (x.indrelid) x.indrelid::bigint, i.relname::text
  FROM pg_catalog.pg_index x
  JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
 WHERE x.indrelid = ANY (%s::oid[]) AND x.indisunique AND x.indisvalid AND x.indimmediate
   AND x.indpred IS NULL AND x.indexprs IS NULL
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.generate_subscripts(x.indkey, 1) q, pg_catalog.pg_attribute b
                    WHERE q < coalesce((pg_catalog.row_to_json(x) ->> 'indnkeyatts')::int, x.indnatts)
                      AND b.attrelid = x.indrelid AND b.attnum = x.indkey[q] AND NOT b.attnotnull)
 ORDER BY x.indrelid, x.indnatts, x.indexrelid
