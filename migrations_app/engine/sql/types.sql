-- Types of the columns of all user tables, and the types that these are made of: a domain's base, an array's elements,
-- a range's bounds, a composite's fields in their order.
-- :parameters none   :versions 9.3+
WITH RECURSIVE used AS (
  SELECT a.atttypid AS oid
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped AND c.relpersistence <> 't'
     AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'towpath')
  UNION
  SELECT p.oid
    FROM used u
    JOIN pg_catalog.pg_type t ON t.oid = u.oid
   CROSS JOIN LATERAL (
      SELECT t.typbasetype AS oid WHERE t.typtype = 'd'
      UNION ALL SELECT t.typelem WHERE t.typsend = 'pg_catalog.array_send'::regproc
      UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid
      UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a
                 WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
   ) p
)
SELECT t.oid::bigint, t.typtype::text, t.typname::text, t.typsend::oid <> 0 AND t.typreceive::oid <> 0 AS has_binary,
       CASE WHEN t.typtype = 'd' THEN t.typbasetype::bigint
            WHEN t.typsend = 'pg_catalog.array_send'::regproc THEN t.typelem::bigint
            ELSE (SELECT r.rngsubtype::bigint FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid) END AS part,
       CASE WHEN t.typtype = 'c' THEN
         (SELECT array_agg(a.atttypid::bigint ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
           WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) END AS fields
  FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.oid
