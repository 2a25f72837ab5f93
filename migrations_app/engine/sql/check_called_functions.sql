-- Functions that a table's own definition calls (generated columns, checks, index expressions) and that look names up by
-- the caller's search_path, or may do so: table oid, function, statement that pins the path, language, body, names of arguments.
-- :parameters none   :versions 9.3+   (bodies in the catalog exist since 14: read through row_to_json)
WITH uses AS (
  SELECT d.adrelid AS tab, p.refobjid AS fn
    FROM pg_catalog.pg_attrdef d
    JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum AND coalesce(pg_catalog.row_to_json(a) ->> 'attgenerated', '') <> ''
    JOIN pg_catalog.pg_depend p ON p.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND p.objid = d.oid
   WHERE p.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
  UNION
  SELECT k.conrelid, p.refobjid
    FROM pg_catalog.pg_constraint k
    JOIN pg_catalog.pg_depend p ON p.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND p.objid = k.oid
   WHERE k.contype = 'c' AND p.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
  UNION
  SELECT x.indrelid, p.refobjid
    FROM pg_catalog.pg_index x
    JOIN pg_catalog.pg_depend p ON p.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND p.objid = x.indexrelid
   WHERE p.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
)
SELECT u.tab::bigint, f.oid::pg_catalog.regprocedure::text,
       'ALTER FUNCTION ' || f.oid::pg_catalog.regprocedure::text || ' SET search_path = '
         || pg_catalog.quote_ident(n.nspname) || ', pg_catalog;',
       l.lanname::text, f.prosrc, coalesce(f.proargnames, '{}')
  FROM uses u
  JOIN pg_catalog.pg_proc f ON f.oid = u.fn AND f.oid >= 16384
  JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid = f.prolang
 WHERE l.lanname NOT IN ('c', 'internal') AND (pg_catalog.row_to_json(f) ->> 'prosqlbody') IS NULL
   AND NOT EXISTS (SELECT 1 FROM unnest(f.proconfig) s(line) WHERE s.line LIKE 'search\_path=%')
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend e
                    WHERE e.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND e.objid = f.oid AND e.deptype = 'e')
 ORDER BY 2
