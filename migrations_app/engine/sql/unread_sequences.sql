-- Sequences that the account may not read and that no column of some tables has: (oid, schema, name, whether a column owns it).
-- :parameters tables (array of oids)   :versions 9.3+
SELECT c.oid::bigint, n.nspname::text, c.relname::text,
       EXISTS (SELECT 1 FROM pg_catalog.pg_depend o
                WHERE o.classid = 'pg_catalog.pg_class'::regclass AND o.objid = c.oid
                  AND o.refclassid = 'pg_catalog.pg_class'::regclass AND o.refobjsubid > 0 AND o.deptype IN ('a', 'i'))
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE CASE WHEN c.relkind = 'S' THEN NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE')
                                   OR NOT pg_catalog.has_sequence_privilege(c.oid, 'SELECT') ELSE false END
   AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend o
                    WHERE o.classid = 'pg_catalog.pg_class'::regclass AND o.objid = c.oid
                      AND o.refclassid = 'pg_catalog.pg_class'::regclass AND o.refobjid = ANY (%(tables)s::oid[]))
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                     JOIN pg_catalog.pg_attrdef a ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND a.oid = d.objid
                    WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = c.oid
                      AND a.adrelid = ANY (%(tables)s::oid[]))
 ORDER BY 2, 3
