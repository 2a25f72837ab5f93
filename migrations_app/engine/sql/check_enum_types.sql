-- Which of these types are enums or hold some: oid.
-- :parameters types (oid[])   :versions 11+
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
SELECT h.type::bigint FROM holding h WHERE h.type = ANY (%(types)s::oid[])
