-- Tables that views and materialized views read directly: view schema, view, table oid, table in words.
-- :parameters none   :versions 9.3+
SELECT DISTINCT vn.nspname::text, v.relname::text, t.oid::bigint, tn.nspname || '.' || t.relname
  FROM pg_catalog.pg_depend d
  JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
  JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm')
  JOIN pg_catalog.pg_namespace vn ON vn.oid = v.relnamespace
  JOIN pg_catalog.pg_class t ON t.oid = d.refobjid AND t.relkind IN ('r', 'p')
  JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
 WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
   AND vn.nspname NOT IN ('pg_catalog', 'information_schema')
 ORDER BY 1, 2, 4
