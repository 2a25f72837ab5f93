-- Objects that only a superuser can create, or that need a library on the server: kind, name, library ('' = none).
-- Members of extensions are left out: the extension brings them. So are the functions that a range type makes itself.
-- Each aggregate stands in the catalog as a function of the language internal: only one that passes a state of the type
-- internal needs a superuser. A function that is LEAKPROOF needs one in any language.
-- :parameters none   :versions 9.3+
WITH members AS (SELECT d.classid, d.objid FROM pg_catalog.pg_depend d WHERE d.deptype = 'e')
SELECT CASE WHEN g.aggfnoid IS NULL THEN 'function' ELSE 'aggregate' END, p.oid::pg_catalog.regprocedure::text,
       CASE WHEN l.lanname = 'c' THEN p.probin ELSE '' END
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  LEFT JOIN pg_catalog.pg_aggregate g ON g.aggfnoid = p.oid
 WHERE p.oid >= 16384
   AND CASE WHEN g.aggfnoid IS NULL THEN l.lanname IN ('c', 'internal') OR p.proleakproof
            ELSE 'pg_catalog.internal'::pg_catalog.regtype
                 IN (g.aggtranstype, coalesce((pg_catalog.row_to_json(g) ->> 'aggmtranstype')::oid, 0)) END
   AND NOT EXISTS (SELECT 1 FROM members m WHERE m.objid = p.oid AND m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass)
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend i
                    WHERE i.objid = p.oid AND i.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND i.deptype = 'i')
UNION ALL
SELECT 'cast', pg_catalog.format_type(c.castsource, NULL) || ' to ' || pg_catalog.format_type(c.casttarget, NULL), ''
  FROM pg_catalog.pg_cast c
 WHERE c.oid >= 16384 AND c.castmethod = 'b'
   AND NOT EXISTS (SELECT 1 FROM members m WHERE m.objid = c.oid AND m.classid = 'pg_catalog.pg_cast'::pg_catalog.regclass)
UNION ALL
SELECT 'text search parser', t.prsname::text, '' FROM pg_catalog.pg_ts_parser t
 WHERE t.oid >= 16384
   AND NOT EXISTS (SELECT 1 FROM members m WHERE m.objid = t.oid AND m.classid = 'pg_catalog.pg_ts_parser'::pg_catalog.regclass)
UNION ALL
SELECT 'text search template', t.tmplname::text, '' FROM pg_catalog.pg_ts_template t
 WHERE t.oid >= 16384
   AND NOT EXISTS (SELECT 1 FROM members m WHERE m.objid = t.oid AND m.classid = 'pg_catalog.pg_ts_template'::pg_catalog.regclass)
UNION ALL
SELECT 'operator class', o.opcname::text, '' FROM pg_catalog.pg_opclass o
 WHERE o.oid >= 16384
   AND NOT EXISTS (SELECT 1 FROM members m WHERE m.objid = o.oid AND m.classid = 'pg_catalog.pg_opclass'::pg_catalog.regclass)
UNION ALL
SELECT 'access method', a.amname::text, '' FROM pg_catalog.pg_am a
 WHERE a.oid >= 16384
   AND NOT EXISTS (SELECT 1 FROM members m WHERE m.objid = a.oid AND m.classid = 'pg_catalog.pg_am'::pg_catalog.regclass)
UNION ALL
SELECT 'foreign-data wrapper', w.fdwname::text, '' FROM pg_catalog.pg_foreign_data_wrapper w
 WHERE NOT EXISTS (SELECT 1 FROM members m WHERE m.objid = w.oid AND m.classid = 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass)
 ORDER BY 1, 2
