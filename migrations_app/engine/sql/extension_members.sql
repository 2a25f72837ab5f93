-- What extensions have put into some schemas: extension, its schema, schema and name of the member.
-- :parameters %(schemas)s text[]   :versions 9.3+
SELECT DISTINCT e.extname::text, x.nspname::text, n.nspname::text, o.name
  FROM (SELECT 'pg_catalog.pg_class'::regclass AS catalog, oid, relnamespace AS space, relname::text AS name FROM pg_catalog.pg_class
        UNION ALL SELECT 'pg_catalog.pg_type'::regclass, oid, typnamespace, typname::text FROM pg_catalog.pg_type
        UNION ALL SELECT 'pg_catalog.pg_proc'::regclass, oid, pronamespace, proname::text FROM pg_catalog.pg_proc
        UNION ALL SELECT 'pg_catalog.pg_operator'::regclass, oid, oprnamespace, oprname::text FROM pg_catalog.pg_operator
        UNION ALL SELECT 'pg_catalog.pg_opclass'::regclass, oid, opcnamespace, opcname::text FROM pg_catalog.pg_opclass
        UNION ALL SELECT 'pg_catalog.pg_opfamily'::regclass, oid, opfnamespace, opfname::text FROM pg_catalog.pg_opfamily
        UNION ALL SELECT 'pg_catalog.pg_collation'::regclass, oid, collnamespace, collname::text FROM pg_catalog.pg_collation
        UNION ALL SELECT 'pg_catalog.pg_ts_config'::regclass, oid, cfgnamespace, cfgname::text FROM pg_catalog.pg_ts_config
        UNION ALL SELECT 'pg_catalog.pg_ts_dict'::regclass, oid, dictnamespace, dictname::text FROM pg_catalog.pg_ts_dict
       ) o
  JOIN pg_catalog.pg_namespace n ON n.oid = o.space AND n.nspname = ANY(%(schemas)s::text[])
  JOIN pg_catalog.pg_depend d ON d.classid = o.catalog AND d.objid = o.oid AND d.deptype = 'e'
  JOIN pg_catalog.pg_extension e ON d.refclassid = 'pg_catalog.pg_extension'::regclass AND e.oid = d.refobjid
  JOIN pg_catalog.pg_namespace x ON x.oid = e.extnamespace
 ORDER BY 1, 4
