-- Unique indexes that REPLICA IDENTITY USING INDEX accepts, the smallest of each table.
-- :parameters oids of tables   :versions 10+   (columns that are only included need no NOT NULL)
SELECT DISTINCT ON (x.indrelid) x.indrelid::bigint, i.relname::text
  FROM pg_catalog.pg_index x
  JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
 WHERE x.indrelid = ANY (%s::oid[]) AND x.indisunique AND x.indisvalid AND x.indimmediate
   AND x.indpred IS NULL AND x.indexprs IS NULL
   AND NOT EXISTS (SELECT FROM unnest(x.indkey::int2[]) WITH ORDINALITY q(attnum, n), pg_catalog.pg_attribute b
                    WHERE q.n <= coalesce((to_jsonb(x) ->> 'indnkeyatts')::int, x.indnatts)
                      AND b.attrelid = x.indrelid AND b.attnum = q.attnum AND NOT b.attnotnull)
 ORDER BY x.indrelid, x.indnatts, x.indexrelid
