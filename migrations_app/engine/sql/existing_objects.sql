-- Every user object of the database as (catalog, schema, name): the triple that `target_objects.identity` makes of an
-- entry of a pg_dump archive. The name of a function or operator includes its argument types. An archive has no catalog
-- for user mappings.
-- :parameters none   :versions 10+   :needs an empty search_path
SELECT 2615::bigint, ''::text, nspname::text FROM pg_catalog.pg_namespace
 WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
UNION ALL
SELECT 1259, n.nspname, c.relname FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.oid >= 16384
UNION ALL
SELECT 1247, n.nspname, t.typname FROM pg_catalog.pg_type t
  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
 WHERE t.oid >= 16384 AND (t.typrelid = 0 OR c.relkind = 'c') AND NOT (t.typelem <> 0 AND t.typlen = -1)
UNION ALL
SELECT 1255, n.nspname, p.proname || '('
       || coalesce((SELECT string_agg(pg_catalog.format_type(u.type, NULL), ', ' ORDER BY u.at)
                      FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY u(type, at)),
                   CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_aggregate a WHERE a.aggfnoid = p.oid) THEN '*' ELSE '' END)
       || ')'
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 WHERE p.oid >= 16384
UNION ALL SELECT 3079, '', extname FROM pg_catalog.pg_extension
UNION ALL SELECT 2612, '', lanname FROM pg_catalog.pg_language
UNION ALL SELECT 2328, '', fdwname FROM pg_catalog.pg_foreign_data_wrapper
UNION ALL SELECT 1417, '', srvname FROM pg_catalog.pg_foreign_server
UNION ALL SELECT 3466, '', evtname FROM pg_catalog.pg_event_trigger
UNION ALL SELECT 2601, '', amname FROM pg_catalog.pg_am WHERE oid >= 16384
UNION ALL SELECT 0, '', 'USER MAPPING ' || usename || ' SERVER ' || srvname FROM pg_catalog.pg_user_mappings
UNION ALL
SELECT 2605, '', 'CAST (' || pg_catalog.format_type(castsource, NULL) || ' AS '
       || pg_catalog.format_type(casttarget, NULL) || ')'
  FROM pg_catalog.pg_cast WHERE oid >= 16384
UNION ALL
SELECT 3576, '', 'TRANSFORM FOR ' || pg_catalog.format_type(f.trftype, NULL) || ' LANGUAGE '
       || pg_catalog.quote_ident(l.lanname)
  FROM pg_catalog.pg_transform f JOIN pg_catalog.pg_language l ON l.oid = f.trflang WHERE f.oid >= 16384
UNION ALL
SELECT 2617, n.nspname, o.oprname || ' (' || coalesce(pg_catalog.format_type(nullif(o.oprleft, 0), NULL), 'NONE') || ', '
       || coalesce(pg_catalog.format_type(nullif(o.oprright, 0), NULL), 'NONE') || ')'
  FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace WHERE o.oid >= 16384
UNION ALL
SELECT o.catalog, n.nspname, o.name || ' USING ' || pg_catalog.quote_ident(a.amname)
  FROM (SELECT 2616::bigint AS catalog, opcnamespace AS space, opcname AS name, opcmethod AS method, oid FROM pg_catalog.pg_opclass
        UNION ALL SELECT 2753, opfnamespace, opfname, opfmethod, oid FROM pg_catalog.pg_opfamily) o
  JOIN pg_catalog.pg_namespace n ON n.oid = o.space JOIN pg_catalog.pg_am a ON a.oid = o.method
 WHERE o.oid >= 16384
UNION ALL
SELECT o.catalog, n.nspname, o.name
  FROM (SELECT 3456::bigint AS catalog, collnamespace AS space, collname AS name, oid FROM pg_catalog.pg_collation
        UNION ALL SELECT 2607, connamespace, conname, oid FROM pg_catalog.pg_conversion
        UNION ALL SELECT 3602, cfgnamespace, cfgname, oid FROM pg_catalog.pg_ts_config
        UNION ALL SELECT 3600, dictnamespace, dictname, oid FROM pg_catalog.pg_ts_dict
        UNION ALL SELECT 3601, prsnamespace, prsname, oid FROM pg_catalog.pg_ts_parser
        UNION ALL SELECT 3764, tmplnamespace, tmplname, oid FROM pg_catalog.pg_ts_template) o
  JOIN pg_catalog.pg_namespace n ON n.oid = o.space
 WHERE o.oid >= 16384
