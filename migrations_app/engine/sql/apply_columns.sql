-- Live columns of one table on the target, with what writing and finding rows needs to know.
-- :parameters $1 schema, $2 table   :versions 10+   (no row: the table is not there; one row of NULLs: it has no columns)
-- element_type = the type below all domains, when unnest of an array of it gives its values back; spelled = casting its text explicitly is its input.
-- uniques = JSON: names of the unique, total indexes over columns alone that this column is a key column of, and of those of its partitions: an error names theirs.
-- apart = its collation takes different texts for equal, and a unique, total index over columns alone has it with another one, so that both may be there.
-- in_key = column of the primary key, else of the smallest unique, immediate, total index over not-null columns; of none with a generated column, which no stream tells.
WITH RECURSIVE rel AS (
  SELECT c.oid, c.relkind FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE n.nspname = $1::text AND c.relname = $2::text AND c.relkind IN ('r', 'p')
), best AS (
  SELECT x.indkey::int2[] AS attnums, w.indnkeyatts
    FROM pg_catalog.pg_index x JOIN rel ON rel.oid = x.indrelid
   CROSS JOIN LATERAL (SELECT coalesce((pg_catalog.row_to_json(x) ->> 'indnkeyatts')::int, x.indnatts) AS indnkeyatts) w
   WHERE x.indisunique AND x.indisvalid AND x.indisready AND x.indimmediate AND x.indpred IS NULL AND x.indexprs IS NULL
     AND NOT EXISTS (SELECT FROM unnest(x.indkey::int2[]) WITH ORDINALITY q(attnum, n), pg_catalog.pg_attribute b
                      WHERE q.n <= w.indnkeyatts AND b.attrelid = x.indrelid AND b.attnum = q.attnum
                         AND (NOT b.attnotnull OR coalesce(to_jsonb(b) ->> 'attgenerated', '') <> ''
                              OR EXISTS (SELECT FROM pg_catalog.pg_constraint o  -- NULL may be in rows of before (18)
                                          WHERE o.conrelid = b.attrelid AND o.contype = 'n' AND NOT o.convalidated AND b.attnum = o.conkey[1])))
   ORDER BY NOT x.indisprimary, w.indnkeyatts, x.indexrelid LIMIT 1
), alike AS (
  SELECT x.indexrelid AS index,
         ARRAY(SELECT k.attnum FROM unnest(x.indkey::int2[]) WITH ORDINALITY k(attnum, n)
                WHERE k.n <= coalesce((pg_catalog.row_to_json(x) ->> 'indnkeyatts')::int, x.indnatts)) AS attnums
    FROM pg_catalog.pg_index x JOIN rel ON rel.oid = x.indrelid
   WHERE x.indisunique AND x.indpred IS NULL AND x.indexprs IS NULL
   UNION ALL SELECT i.inhrelid, alike.attnums FROM alike JOIN pg_catalog.pg_inherits i ON i.inhparent = alike.index
)
SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type_name,
       a.atttypid < 16384 AS builtin,
       coalesce(to_jsonb(a) ->> 'attgenerated', '') <> '' AS generated,
       t.oid < 16384 AND t.typtype = 'b' AND (t.typname IN ('varchar', 'cidr') OR EXISTS (
         SELECT FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod
          WHERE m.amname = 'btree' AND o.opcdefault AND o.opcintype = t.oid)) AS comparable,
       t.oid < 16384 AND t.typname IN ('bool', 'int2', 'int4', 'int8', 'oid', 'uuid', 'date', 'timestamp', 'timestamptz', 'bytea') AS exact,
       coalesce((SELECT n.nspname FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod
                   JOIN pg_catalog.pg_amop p ON p.amopfamily = o.opcfamily AND p.amopstrategy = 3
                        AND p.amoplefttype = o.opcintype AND p.amoprighttype = o.opcintype
                   JOIN pg_catalog.pg_operator q ON q.oid = p.amopopr JOIN pg_catalog.pg_namespace n ON n.oid = q.oprnamespace
                  WHERE m.amname = 'btree' AND o.opcdefault
                    AND o.opcintype = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END LIMIT 1),
                'pg_catalog') AS operator_schema,
       EXISTS (SELECT FROM best, unnest(best.attnums) WITH ORDINALITY k(attnum, n)
                WHERE k.n <= best.indnkeyatts AND k.attnum = a.attnum) AS in_key,
       rel.relkind = 'p' AS partitioned,
       CASE WHEN b.typarray <> 0 THEN b.oid ELSE 0 END::bigint AS element_oid,
       pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(b.typname) AS element_type,
       b.typtype = 'e' OR b.oid < 16384 AND b.typname NOT IN ('char', '_char', 'xml', '_xml') AND b.typname !~ '^_?reg' AS spelled,
       coalesce((SELECT json_agg(DISTINCT i.relname)::text
                   FROM alike JOIN pg_catalog.pg_class i ON i.oid = alike.index
                  WHERE a.attnum = ANY (alike.attnums)), '[]') AS uniques,
       EXISTS (SELECT FROM pg_catalog.pg_collation l
                 JOIN pg_catalog.pg_index x ON x.indrelid = rel.oid AND x.indisunique AND x.indpred IS NULL AND x.indexprs IS NULL
                WHERE l.oid = a.attcollation AND to_jsonb(l) ->> 'collisdeterministic' = 'false'
                  AND EXISTS (SELECT FROM generate_subscripts(x.indcollation, 1) k
                               WHERE x.indkey[k] = a.attnum AND x.indcollation[k] <> l.oid)) AS apart
  FROM rel
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  LEFT JOIN LATERAL (
    WITH RECURSIVE below AS (
      SELECT t.oid, t.typtype, t.typbasetype
      UNION ALL SELECT d.oid, d.typtype, d.typbasetype FROM below JOIN pg_catalog.pg_type d ON d.oid = below.typbasetype WHERE below.typtype = 'd'
    ) SELECT oid FROM below WHERE typtype <> 'd') base ON true
  LEFT JOIN pg_catalog.pg_type b ON b.oid = base.oid
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = b.typnamespace
 ORDER BY a.attnum
