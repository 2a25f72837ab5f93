-- Policies and rules of tables, and the other tables that they use: table oid, table in words, kind (policy or rule), name, oid of
-- the other table, that in words.
-- :parameters none   :versions 9.5+
WITH bound(class, oid, kind, name, tab) AS (
  SELECT 'pg_catalog.pg_policy'::pg_catalog.regclass, p.oid, 'policy', p.polname::text, p.polrelid FROM pg_catalog.pg_policy p
  UNION ALL
  SELECT 'pg_catalog.pg_rewrite'::pg_catalog.regclass, r.oid, 'rule', r.rulename::text, r.ev_class FROM pg_catalog.pg_rewrite r
)
SELECT DISTINCT b.tab::bigint, bn.nspname || '.' || c.relname, b.kind, b.name, t.oid::bigint, tn.nspname || '.' || t.relname
  FROM bound b
  JOIN pg_catalog.pg_class c ON c.oid = b.tab AND c.relkind IN ('r', 'p')
  JOIN pg_catalog.pg_namespace bn ON bn.oid = c.relnamespace
  JOIN pg_catalog.pg_depend d ON d.classid = b.class AND d.objid = b.oid
       AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> b.tab
  JOIN pg_catalog.pg_class t ON t.oid = d.refobjid AND t.relkind IN ('r', 'p')
  JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
 WHERE bn.nspname NOT IN ('pg_catalog', 'information_schema')
 ORDER BY 2, 3, 4, 6
