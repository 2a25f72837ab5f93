-- Rules of tables, and the other tables that they use: table oid, table in words, 'rule', name, oid of the other table, that
-- in words. There are no policies yet.
-- :parameters none   :versions 9.3 to 9.4
SELECT DISTINCT c.oid::bigint, bn.nspname || '.' || c.relname, 'rule'::text, r.rulename::text, t.oid::bigint, tn.nspname || '.' || t.relname
  FROM pg_catalog.pg_rewrite r
  JOIN pg_catalog.pg_class c ON c.oid = r.ev_class AND c.relkind = 'r'
  JOIN pg_catalog.pg_namespace bn ON bn.oid = c.relnamespace
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
       AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> c.oid
  JOIN pg_catalog.pg_class t ON t.oid = d.refobjid AND t.relkind = 'r'
  JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
 WHERE bn.nspname NOT IN ('pg_catalog', 'information_schema')
 ORDER BY 2, 4, 6
