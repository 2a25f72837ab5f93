-- Partitioned tables whose rows are spread by the hash of an enum, or of a value that holds one: it depends on the numbers of the
-- enum's values: oid, name. What an expression holds is told only where its operator class is that of enums.
-- :parameters none   :versions 11+
WITH RECURSIVE holding(type) AS (
  SELECT t.oid FROM pg_catalog.pg_type t WHERE t.typtype = 'e'
  UNION
  SELECT w.whole FROM holding h JOIN (
    SELECT t.typbasetype AS part, t.oid AS whole FROM pg_catalog.pg_type t WHERE t.typtype = 'd'
    UNION ALL SELECT t.typelem, t.oid FROM pg_catalog.pg_type t WHERE t.typelem <> 0 AND t.typlen = -1
    UNION ALL SELECT r.rngsubtype, r.rngtypid FROM pg_catalog.pg_range r
    UNION ALL SELECT (pg_catalog.row_to_json(r) ->> 'rngtypid')::oid, (pg_catalog.row_to_json(r) ->> 'rngmultitypid')::oid
                FROM pg_catalog.pg_range r
    UNION ALL SELECT a.atttypid, c.reltype FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
               WHERE c.oid >= 16384 AND c.reltype <> 0 AND a.attnum > 0 AND NOT a.attisdropped) w ON w.part = h.type
)
SELECT c.oid::bigint, n.nspname || '.' || c.relname
  FROM pg_catalog.pg_partitioned_table p
  JOIN pg_catalog.pg_class c ON c.oid = p.partrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE p.partstrat = 'h'
   AND (EXISTS (SELECT 1 FROM unnest(p.partclass::oid[]) u(class)
                  JOIN pg_catalog.pg_opclass o ON o.oid = u.class
                 WHERE o.opcintype = 'pg_catalog.anyenum'::pg_catalog.regtype)
        OR EXISTS (SELECT 1 FROM unnest(p.partattrs::int2[], p.partclass::oid[]) u(number, class)
                     JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = u.number
                     JOIN holding h ON h.type = a.atttypid
                    WHERE u.class < 16384))
 ORDER BY 2
