-- How these base and range types are made: the statements that make the shell, the functions that the type needs, and the
-- type, in this order: what (0 shell, 1 function, 2 type), statement. The functions are those that no extension brings.
-- :parameters types (oid[])   :versions 9.3+   :needs an empty search_path
WITH asked AS (
  SELECT t.oid AS type_oid, t.*, pg_catalog.format_type(t.oid, NULL) AS shown, pg_catalog.row_to_json(t) AS more
    FROM pg_catalog.pg_type t WHERE t.oid = ANY (%(types)s::oid[])
), parts AS (
  SELECT a.type_oid, a.shown, pg_catalog.concat_ws(', ',
         'INPUT = ' || a.typinput, 'OUTPUT = ' || a.typoutput,
         'RECEIVE = ' || nullif(a.typreceive::text, '-'), 'SEND = ' || nullif(a.typsend::text, '-'),
         'TYPMOD_IN = ' || nullif(a.typmodin::text, '-'), 'TYPMOD_OUT = ' || nullif(a.typmodout::text, '-'),
         'ANALYZE = ' || nullif(a.typanalyze::text, '-'), 'SUBSCRIPT = ' || nullif(a.more ->> 'typsubscript', '-'),
         'INTERNALLENGTH = ' || CASE WHEN a.typlen < 0 THEN 'variable' ELSE a.typlen::text END,
         CASE WHEN a.typbyval THEN 'PASSEDBYVALUE' END,
         'ALIGNMENT = ' || CASE a.typalign WHEN 'c' THEN 'char' WHEN 's' THEN 'int2' WHEN 'i' THEN 'int4' ELSE 'double' END,
         'STORAGE = ' || CASE a.typstorage WHEN 'p' THEN 'plain' WHEN 'e' THEN 'external' WHEN 'm' THEN 'main' ELSE 'extended' END,
         'CATEGORY = ' || pg_catalog.quote_literal(a.typcategory::text), CASE WHEN a.typispreferred THEN 'PREFERRED = true' END,
         'DEFAULT = ' || pg_catalog.quote_literal(a.typdefault),
         CASE WHEN a.typelem <> 0 THEN 'ELEMENT = ' || pg_catalog.format_type(a.typelem, NULL) END,
         'DELIMITER = ' || pg_catalog.quote_literal(a.typdelim::text), CASE WHEN a.typcollation <> 0 THEN 'COLLATABLE = true' END) AS text
    FROM asked a WHERE a.typtype = 'b'
  UNION ALL
  SELECT a.type_oid, a.shown, 'RANGE (' || pg_catalog.concat_ws(', ',
         'SUBTYPE = ' || pg_catalog.format_type(r.rngsubtype, NULL),
         (SELECT 'SUBTYPE_OPCLASS = ' || pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(o.opcname)
            FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_namespace n ON n.oid = o.opcnamespace
           WHERE o.oid = r.rngsubopc AND NOT o.opcdefault),
         (SELECT 'COLLATION = ' || pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.collname)
            FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
           WHERE c.oid = r.rngcollation
             AND c.oid <> (SELECT s.typcollation FROM pg_catalog.pg_type s WHERE s.oid = r.rngsubtype)),
         'CANONICAL = ' || nullif(r.rngcanonical::text, '-'), 'SUBTYPE_DIFF = ' || nullif(r.rngsubdiff::text, '-'),
         'MULTIRANGE_TYPE_NAME = '
         || pg_catalog.format_type((pg_catalog.row_to_json(r) ->> 'rngmultitypid')::oid, NULL)) || ')'
    FROM asked a JOIN pg_catalog.pg_range r ON r.rngtypid = a.type_oid
), made(what, statement) AS (
  SELECT 0, 'CREATE TYPE ' || a.shown || ';' FROM asked a
  UNION
  SELECT 1, pg_catalog.rtrim(pg_catalog.pg_get_functiondef(p.oid), E'\n') || ';'
    FROM asked a
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = a.type_oid
     AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
    JOIN pg_catalog.pg_proc p ON p.oid = d.refobjid
   WHERE p.oid >= 16384
     AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend e
                      WHERE e.classid = d.refclassid AND e.objid = p.oid AND e.deptype = 'e')
  UNION
  SELECT 2, 'CREATE TYPE ' || p.shown || ' AS ' || p.text || ';' FROM parts p WHERE p.text LIKE 'RANGE (%%'
  UNION
  SELECT 2, 'CREATE TYPE ' || p.shown || ' (' || p.text || ');' FROM parts p WHERE p.text NOT LIKE 'RANGE (%%'
)
SELECT m.what, m.statement FROM made m ORDER BY 1, 2
