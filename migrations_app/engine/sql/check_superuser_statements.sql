-- How objects that only a superuser can create are made: catalog, oid, statement, whether it needs functions, operators or types that
-- come with the database itself, and of an operator family that it makes schema and name as existing_objects.sql has them.
-- In an order in which they can be run: operator families, their classes, further members.
-- :parameters none   :versions 9.3+   :needs an empty search_path
WITH member(owned_by, owner, kind, number, shown, needs) AS (
  SELECT d.refclassid, d.refobjid, 1, o.amopstrategy,
         pg_catalog.format('OPERATOR %s %s', o.amopstrategy, o.amopopr::pg_catalog.regoperator)
         || coalesce((SELECT pg_catalog.format(' FOR ORDER BY %I.%I', n.nspname, f.opfname) FROM pg_catalog.pg_opfamily f
                        JOIN pg_catalog.pg_namespace n ON n.oid = f.opfnamespace WHERE f.oid = o.amopsortfamily), ''), o.amopopr
    FROM pg_catalog.pg_amop o
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_amop'::pg_catalog.regclass AND d.objid = o.oid
     AND d.refclassid IN ('pg_catalog.pg_opclass'::pg_catalog.regclass, 'pg_catalog.pg_opfamily'::pg_catalog.regclass)
     AND d.refobjid <> o.amopsortfamily
  UNION ALL
  SELECT d.refclassid, d.refobjid, 2, p.amprocnum, pg_catalog.format('FUNCTION %s (%s, %s) %s', p.amprocnum,
         pg_catalog.format_type(p.amproclefttype, NULL), pg_catalog.format_type(p.amprocrighttype, NULL),
         p.amproc::pg_catalog.oid::pg_catalog.regprocedure), p.amproc::pg_catalog.oid
    FROM pg_catalog.pg_amproc p
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_amproc'::pg_catalog.regclass AND d.objid = p.oid
     AND d.refclassid IN ('pg_catalog.pg_opclass'::pg_catalog.regclass, 'pg_catalog.pg_opfamily'::pg_catalog.regclass)
), part AS (
  SELECT m.owner AS class, m.kind, m.number, m.shown, m.needs FROM member m
   WHERE m.owned_by = 'pg_catalog.pg_opclass'::pg_catalog.regclass
), loose AS (
  SELECT m.owner AS family, pg_catalog.string_agg(m.shown, ', ' ORDER BY m.kind, m.number, m.shown) AS shown, max(m.needs) AS needs
    FROM member m WHERE m.owned_by = 'pg_catalog.pg_opfamily'::pg_catalog.regclass GROUP BY 1
), class AS (
  SELECT o.oid, o.opcname, o.opcdefault, o.opcintype, o.opckeytype, o.opcfamily, n.nspname, a.amname, f.opfname, fn.nspname AS fspname, (f.opfname, f.opfnamespace) = (o.opcname, o.opcnamespace) AS alike,
         ARRAY(SELECT p.shown FROM part p WHERE p.class = o.oid ORDER BY p.kind, p.number) AS parts,
         greatest(o.opcintype, o.opckeytype, (SELECT max(p.needs) FROM part p WHERE p.class = o.oid)) AS newest
    FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_namespace n ON n.oid = o.opcnamespace
    JOIN pg_catalog.pg_am a ON a.oid = o.opcmethod
    JOIN pg_catalog.pg_opfamily f ON f.oid = o.opcfamily JOIN pg_catalog.pg_namespace fn ON fn.oid = f.opfnamespace
   WHERE o.oid >= 16384
), made(step, catalog, oid, statement, newest) AS (
SELECT 1, 'pg_catalog.pg_ts_template'::pg_catalog.regclass, t.oid,
       pg_catalog.format('CREATE TEXT SEARCH TEMPLATE %I.%I (', n.nspname, t.tmplname)
         || pg_catalog.concat_ws(', ', 'INIT = ' || nullif(t.tmplinit::text, '-'), 'LEXIZE = ' || t.tmpllexize) || ');',
       greatest(t.tmplinit::pg_catalog.oid, t.tmpllexize::pg_catalog.oid)
  FROM pg_catalog.pg_ts_template t JOIN pg_catalog.pg_namespace n ON n.oid = t.tmplnamespace
UNION ALL
SELECT 1, 'pg_catalog.pg_ts_parser'::pg_catalog.regclass, p.oid,
       pg_catalog.format('CREATE TEXT SEARCH PARSER %I.%I (', n.nspname, p.prsname)
         || pg_catalog.concat_ws(', ', 'START = ' || p.prsstart, 'GETTOKEN = ' || p.prstoken, 'END = ' || p.prsend,
                                 'HEADLINE = ' || nullif(p.prsheadline::text, '-'), 'LEXTYPES = ' || p.prslextype) || ');',
       greatest(p.prsstart::pg_catalog.oid, p.prstoken::pg_catalog.oid, p.prsend::pg_catalog.oid, p.prsheadline::pg_catalog.oid,
                p.prslextype::pg_catalog.oid)
  FROM pg_catalog.pg_ts_parser p JOIN pg_catalog.pg_namespace n ON n.oid = p.prsnamespace
UNION ALL
SELECT 1, 'pg_catalog.pg_am'::pg_catalog.regclass, a.oid,
       pg_catalog.format('CREATE ACCESS METHOD %I TYPE %s HANDLER %s;', a.amname, CASE w.more ->> 'amtype' WHEN 't' THEN 'TABLE'
         ELSE 'INDEX' END, w.more ->> 'amhandler'),
       (w.more ->> 'amhandler')::pg_catalog.regproc::pg_catalog.oid
  FROM pg_catalog.pg_am a CROSS JOIN LATERAL (SELECT pg_catalog.row_to_json(a) AS more OFFSET 0) w WHERE a.oid >= 16384
UNION ALL
SELECT 1, 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass, w.oid,
       pg_catalog.concat_ws(' ', 'CREATE FOREIGN DATA WRAPPER ' || pg_catalog.quote_ident(w.fdwname),
         'HANDLER ' || nullif(w.fdwhandler::pg_catalog.regproc::text, '-'),
         'VALIDATOR ' || nullif(w.fdwvalidator::pg_catalog.regproc::text, '-')) || ';', greatest(w.fdwhandler, w.fdwvalidator)
  FROM pg_catalog.pg_foreign_data_wrapper w WHERE w.fdwoptions IS NULL
UNION ALL
SELECT 1, 'pg_catalog.pg_cast'::pg_catalog.regclass, c.oid,
       pg_catalog.format('CREATE CAST (%s AS %s) WITHOUT FUNCTION%s;', pg_catalog.format_type(c.castsource, NULL),
         pg_catalog.format_type(c.casttarget, NULL), CASE c.castcontext WHEN 'a' THEN ' AS ASSIGNMENT' WHEN 'i' THEN ' AS IMPLICIT' ELSE '' END),
       greatest(c.castsource, c.casttarget)
  FROM pg_catalog.pg_cast c WHERE c.castmethod = 'b'
UNION ALL
SELECT 2, 'pg_catalog.pg_opclass'::pg_catalog.regclass, c.oid,
       pg_catalog.format('CREATE OPERATOR FAMILY %I.%I USING %I;', c.fspname, c.opfname, c.amname), 0
  FROM class c WHERE NOT c.alike AND c.opcfamily >= 16384
UNION ALL
SELECT 3, 'pg_catalog.pg_opclass'::pg_catalog.regclass, c.oid,
       pg_catalog.format('CREATE OPERATOR CLASS %I.%I%s FOR TYPE %s USING %I%s AS %s;', c.nspname, c.opcname,
         CASE WHEN c.opcdefault THEN ' DEFAULT' ELSE '' END, pg_catalog.format_type(c.opcintype, NULL), c.amname,
         CASE WHEN c.alike THEN '' ELSE pg_catalog.format(' FAMILY %I.%I', c.fspname, c.opfname) END,
         pg_catalog.concat_ws(', ', 'STORAGE ' || pg_catalog.format_type(nullif(c.opckeytype, 0), NULL),
           nullif(pg_catalog.array_to_string(c.parts, ', '), ''))), c.newest
  FROM class c
UNION ALL
SELECT 4, 'pg_catalog.pg_opclass'::pg_catalog.regclass, c.oid,
       pg_catalog.format('ALTER OPERATOR FAMILY %I.%I USING %I ADD %s;', c.fspname, c.opfname, c.amname, l.shown),
       greatest(c.newest, l.needs)
  FROM class c JOIN loose l ON l.family = c.opcfamily AND l.family >= 16384
)
SELECT m.catalog::pg_catalog.oid::bigint, m.oid::bigint, m.statement, m.newest >= 16384,
       c.fspname::text, c.opfname || ' USING ' || pg_catalog.quote_ident(c.amname)
  FROM made m LEFT JOIN class c ON m.step = 2 AND c.oid = m.oid WHERE m.oid >= 16384 ORDER BY m.step, m.statement
