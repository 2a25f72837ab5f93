-- Live columns of every user table in attnum order.
-- :parameters none   :versions 9.3 to 11   (attgenerated exists since 12, attidentity since 10: read through row_to_json)
SELECT a.attrelid::bigint, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.atttypid::bigint, a.attnotnull,
       coalesce(w.newer ->> 'attgenerated', '') AS generated, coalesce(w.newer ->> 'attidentity', '') AS identity,
       a.attnum::int,
       CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE a.atttypid END IN (
         SELECT o.opcintype FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod
          WHERE m.amname = 'btree' AND o.opcdefault
         -- these two are compared as text and inet
         UNION ALL VALUES ('pg_catalog.varchar'::pg_catalog.regtype::oid), ('pg_catalog.cidr'::pg_catalog.regtype::oid))
       OR t.typtype IN ('e', 'r', 'm', 'c') OR (t.typelem <> 0 AND t.typlen = -1) AS has_equality
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
 CROSS JOIN LATERAL (SELECT pg_catalog.row_to_json(a) AS newer OFFSET 0) w
 WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'towpath')
   AND n.nspname !~ '^pg_(temp|toast_temp)_'
 ORDER BY a.attrelid, a.attnum
