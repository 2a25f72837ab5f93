-- Objects that only a superuser can create, or that need a library on the server: kind, name, library ('' = none), and by
-- what they are found again: catalog, oid, schema and name, the last two as existing_objects.sql has them; and whether it
-- is a function that needs a superuser for being LEAKPROOF alone (its language is open to everybody).
-- Members of extensions are left out: the extension brings them. So are the functions that a range type makes itself.
-- Each aggregate stands in the catalog as a function of the language internal: only one that passes a state of the type
-- internal needs a superuser. A function that is LEAKPROOF needs one in any language. A range type with a canonical
-- function begins as a shell, as a base type does, and shells are a superuser's to make.
-- :parameters none   :versions 9.3+   :needs an empty search_path
WITH members AS (SELECT d.classid, d.objid FROM pg_catalog.pg_depend d WHERE d.deptype = 'e'
), found(kind, shown, library, catalog, oid, schema, name, leakproof) AS (
SELECT CASE WHEN g.aggfnoid IS NULL THEN 'function' ELSE 'aggregate' END, p.oid::pg_catalog.regprocedure::text,
       CASE WHEN l.lanname = 'c' THEN p.probin ELSE '' END, 'pg_catalog.pg_proc'::pg_catalog.regclass::oid, p.oid,
       n.nspname::text, p.proname || '(' || pg_catalog.array_to_string(ARRAY(
         SELECT pg_catalog.format_type(p.proargtypes[i], NULL) FROM pg_catalog.generate_series(0, p.pronargs - 1) i
          ORDER BY i), ', ') || ')', g.aggfnoid IS NULL AND l.lanpltrusted
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  LEFT JOIN pg_catalog.pg_aggregate g ON g.aggfnoid = p.oid
 WHERE p.oid >= 16384
   AND CASE WHEN g.aggfnoid IS NULL THEN l.lanname IN ('c', 'internal') OR p.proleakproof
            ELSE 'pg_catalog.internal'::pg_catalog.regtype
                 IN (g.aggtranstype, coalesce((pg_catalog.row_to_json(g) ->> 'aggmtranstype')::oid, 0)) END
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend i
                    WHERE i.objid = p.oid AND i.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND i.deptype = 'i')
UNION ALL
SELECT 'type', pg_catalog.format_type(t.oid, NULL), '', 'pg_catalog.pg_type'::pg_catalog.regclass::oid, t.oid,
       n.nspname::text, t.typname::text, false
  FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid
 WHERE t.oid >= 16384 AND t.typisdefined AND (t.typtype = 'b' OR r.rngcanonical <> 0)
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_type e WHERE e.typarray = t.oid)
UNION ALL
SELECT 'cast', pg_catalog.format_type(c.castsource, NULL) || ' to ' || pg_catalog.format_type(c.casttarget, NULL), '',
       'pg_catalog.pg_cast'::pg_catalog.regclass::oid, c.oid, '',
       'CAST (' || pg_catalog.format_type(c.castsource, NULL) || ' AS ' || pg_catalog.format_type(c.casttarget, NULL) || ')', false
  FROM pg_catalog.pg_cast c WHERE c.castmethod = 'b'
UNION ALL
SELECT 'text search parser', t.prsname::text, '', 'pg_catalog.pg_ts_parser'::pg_catalog.regclass::oid, t.oid,
       n.nspname::text, t.prsname::text, false
  FROM pg_catalog.pg_ts_parser t JOIN pg_catalog.pg_namespace n ON n.oid = t.prsnamespace
UNION ALL
SELECT 'text search template', t.tmplname::text, '', 'pg_catalog.pg_ts_template'::pg_catalog.regclass::oid, t.oid,
       n.nspname::text, t.tmplname::text, false
  FROM pg_catalog.pg_ts_template t JOIN pg_catalog.pg_namespace n ON n.oid = t.tmplnamespace
UNION ALL
SELECT 'operator class', o.opcname::text, '', 'pg_catalog.pg_opclass'::pg_catalog.regclass::oid, o.oid,
       n.nspname::text, o.opcname || ' USING ' || pg_catalog.quote_ident(a.amname), false
  FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_namespace n ON n.oid = o.opcnamespace JOIN pg_catalog.pg_am a ON a.oid = o.opcmethod
UNION ALL
SELECT 'access method', a.amname::text, '', 'pg_catalog.pg_am'::pg_catalog.regclass::oid, a.oid, '', a.amname::text, false
  FROM pg_catalog.pg_am a
UNION ALL
SELECT 'foreign-data wrapper', w.fdwname::text, '', 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass::oid, w.oid, '', w.fdwname::text, false
  FROM pg_catalog.pg_foreign_data_wrapper w
)
SELECT f.kind, f.shown, f.library, f.catalog::bigint, f.oid::bigint, f.schema, f.name, f.leakproof
  FROM found f
 WHERE f.oid >= 16384
   AND NOT EXISTS (SELECT 1 FROM members m WHERE m.objid = f.oid AND m.classid = f.catalog)
 ORDER BY 1, 2
