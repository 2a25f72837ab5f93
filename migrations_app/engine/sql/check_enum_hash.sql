-- Partitioned tables whose rows are spread by the hash of an enum, or of a value that holds one: it depends on the numbers of the
-- enum's values: oid, schema, name, and '' or the expressions, in order, whose types have to tell, as only the parser knows them;
-- of each of these whether its operator class is somebody's own.
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
               WHERE c.oid >= 16384 AND c.reltype <> 0 AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid >= 16384) w ON w.part = h.type
)
SELECT k.oid, k.schema, k.name, CASE WHEN k.known THEN '' ELSE k.expressions END, k.own
  FROM (
    SELECT c.oid::bigint AS oid, n.nspname::text AS schema, c.relname::text AS name,
           pg_catalog.pg_get_expr(p.partexprs, p.partrelid) AS expressions,
           (SELECT array_agg(u.class >= 16384 ORDER BY u.at)
              FROM (SELECT p.partattrs[i] AS number, p.partclass[i] AS class, i AS at
                      FROM pg_catalog.generate_series(0, p.partnatts - 1) i) u WHERE u.number = 0) AS own,
           EXISTS (SELECT 1 FROM unnest(p.partclass::oid[]) u(class)
                     JOIN pg_catalog.pg_opclass o ON o.oid = u.class
                    WHERE o.opcintype = 'pg_catalog.anyenum'::pg_catalog.regtype)
           OR EXISTS (SELECT 1 FROM unnest(p.partattrs::int2[], p.partclass::oid[]) u(number, class)
                        JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = u.number
                        JOIN holding h ON h.type = a.atttypid
                       WHERE u.class < 16384) AS known
      FROM pg_catalog.pg_partitioned_table p
      JOIN pg_catalog.pg_class c ON c.oid = p.partrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE p.partstrat = 'h') k
 WHERE k.known OR k.expressions IS NOT NULL
 ORDER BY 2, 3
