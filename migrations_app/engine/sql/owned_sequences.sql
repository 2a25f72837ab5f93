-- Sequences that belong to columns of a table and give their defaults: schema, name, column. Those of identities are left out.
-- :parameters oid   :versions 9.3+
SELECT n.nspname::text, s.relname::text, a.attname::text
  FROM pg_catalog.pg_depend d
  JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
  JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
  JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
 WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = %(oid)s AND d.deptype = 'a'
 ORDER BY 1, 2
