-- Every object as object_parts.sql tells it; sequences without how they count, which only they themselves know:
-- `unseen` is `right` where the account may not ask them.
-- There is no jsonb before 9.4, and nothing that builds an object out of names and values: a row becomes JSON, and what it
-- does not have is null there.
-- :parameters skip (oid[])   :needs a lock_timeout   :versions 9.3 to 9.6   (newer columns are read through row_to_json so that older servers parse it)
WITH space AS (
  SELECT oid, nspname, nspowner, nspacl FROM pg_catalog.pg_namespace
   WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'towpath') AND nspname !~ '^pg_(temp|toast_temp)_'
), member AS (
  SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'
), rel AS (
  SELECT c.oid, c.relname, c.relkind, c.relpersistence, c.reloftype, c.reloptions, c.reltoastrelid, row_to_json(c) ->> 'relreplident' AS relreplident,
         c.relispopulated, c.relnamespace, c.relowner, c.relacl, s.nspname FROM pg_catalog.pg_class c JOIN space s ON s.oid = c.relnamespace
   WHERE c.relpersistence <> 't' AND c.oid <> ALL (%(skip)s::oid[]) AND NOT EXISTS (
     SELECT 1 FROM member m WHERE m.classid = 'pg_catalog.pg_class'::regclass AND m.objid = c.oid)
), thing(kind, schema, tab, name, class, oid, sub, usable, owner, code, acl, parts) AS (
SELECT 'schema'::text, s.nspname::text, ''::text, ''::text, 'pg_catalog.pg_namespace'::regclass, s.oid, 0, true, s.nspowner, 'n'::"char", s.nspacl, NULL::json
  FROM space s WHERE NOT EXISTS (SELECT 1 FROM member m WHERE m.classid = 'pg_catalog.pg_namespace'::regclass AND m.objid = s.oid)
UNION ALL
SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' ELSE 'table' END,
       c.nspname, c.relname, '', 'pg_catalog.pg_class'::regclass, c.oid, 0, true, c.relowner, 'r', c.relacl,
       (SELECT row_to_json(x) FROM (SELECT
         CASE c.relpersistence WHEN 'u' THEN 'unlogged' END AS "persistence",
         (SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno) FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid) AS "parents",
         (SELECT pg_catalog.format_type(x.oid, NULL) FROM pg_catalog.pg_type x WHERE x.oid = c.reloftype) AS "of type",
         (SELECT string_agg(o, ', ' ORDER BY o) FROM unnest(c.reloptions) o) AS "options",
         (SELECT string_agg(o, ', ' ORDER BY o) FROM pg_catalog.pg_class x, unnest(x.reloptions) o WHERE x.oid = c.reltoastrelid) AS "toast options",
         CASE WHEN c.relkind = 'r' THEN CASE c.relreplident WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' WHEN 'i' THEN
            coalesce((SELECT 'USING INDEX "' || replace(y.relname::text, '"', '""') || '"' FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class y ON y.oid = i.indexrelid
                       WHERE i.indrelid = c.oid AND row_to_json(i) ->> 'indisreplident' = 'true' LIMIT 1), 'NOTHING') ELSE 'DEFAULT' END END AS "replica identity",
         CASE WHEN c.relkind = 'm' THEN c.relispopulated END AS "filled",
         (SELECT v.srvname::text FROM pg_catalog.pg_foreign_table f JOIN pg_catalog.pg_foreign_server v ON v.oid = f.ftserver WHERE f.ftrelid = c.oid) AS "server",
         (SELECT (SELECT string_agg(o.text, ', ' ORDER BY o.text) FROM unnest(f.ftoptions) o(text)) FROM pg_catalog.pg_foreign_table f WHERE f.ftrelid = c.oid) AS "foreign options") x)
  FROM rel c WHERE c.relkind IN ('r', 'v', 'm', 'f')
UNION ALL
SELECT 'column', c.nspname, c.relname, a.attname, 'pg_catalog.pg_class'::regclass, c.oid, a.attnum::int, true, NULL, 'c', a.attacl,
       (SELECT row_to_json(x) FROM (SELECT
         -- A text that nothing gives a type to makes a column of text since 10.
         CASE WHEN a.atttypid = 'pg_catalog.unknown'::regtype AND c.relkind IN ('v', 'm') THEN 'text' ELSE pg_catalog.format_type(a.atttypid, a.atttypmod) END AS "type",
         CASE WHEN a.attnotnull THEN 'yes' END AS "not null",
         CASE WHEN a.atthasdef THEN (SELECT pg_catalog.pg_get_expr(d.adbin, 0) FROM pg_catalog.pg_attrdef d WHERE d.adrelid = c.oid AND d.adnum = a.attnum) END AS "default",
         (SELECT quote_ident(n.nspname) || '.' || quote_ident(o.collname) FROM pg_catalog.pg_collation o JOIN pg_catalog.pg_namespace n ON n.oid = o.collnamespace
           WHERE o.oid = a.attcollation AND o.oid <> t.typcollation) AS "collation",
         CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage::text END AS "storage",
         CASE WHEN a.attstattarget >= 0 THEN a.attstattarget END AS "statistics target",
         nullif(array_to_string(a.attoptions, ', '), '') AS "options",
         (SELECT string_agg(o.text, ', ' ORDER BY o.text) FROM unnest(a.attfdwoptions) o(text)) AS "foreign options") x)
  FROM rel c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
 WHERE c.relkind IN ('r', 'v', 'm', 'f')
UNION ALL
SELECT 'index', t.nspname, t.relname, i.relname, 'pg_catalog.pg_class'::regclass, i.oid, 0, x.indisvalid, NULL, NULL, NULL,
       (SELECT row_to_json(y) FROM (SELECT pg_catalog.pg_get_indexdef(x.indexrelid) AS "definition", nullif(x.indisclustered, false) AS "clustered") y)
  FROM pg_catalog.pg_index x JOIN rel t ON t.oid = x.indrelid JOIN rel i ON i.oid = x.indexrelid
 WHERE t.relkind IN ('r', 'm')
UNION ALL
SELECT 'constraint', t.nspname, t.relname, o.conname, 'pg_catalog.pg_constraint'::regclass, o.oid, 0, o.convalidated, NULL, NULL, NULL,
       (SELECT row_to_json(x) FROM (SELECT regexp_replace(pg_catalog.pg_get_constraintdef(o.oid), ' NOT VALID$', '') AS "definition",
         (SELECT string_agg(DISTINCT g.tgrelid::regclass::text, ', ') FROM pg_catalog.pg_trigger g
           WHERE o.contype = 'f' AND g.tgconstraint = o.oid AND g.tgenabled IN ('D', 'R')) AS "triggers off") x)
  FROM pg_catalog.pg_constraint o JOIN rel t ON t.oid = o.conrelid
 WHERE o.contype IN ('p', 'u', 'f', 'c', 'x')
UNION ALL
SELECT 'trigger', t.nspname, t.relname, g.tgname, 'pg_catalog.pg_trigger'::regclass, g.oid, 0, true, NULL, NULL, NULL,
       (SELECT row_to_json(x) FROM (SELECT pg_catalog.pg_get_triggerdef(g.oid) AS "definition", g.tgenabled::text AS "enabled") x)
  FROM pg_catalog.pg_trigger g JOIN rel t ON t.oid = g.tgrelid
 WHERE NOT g.tgisinternal AND g.tgname NOT LIKE 'towpath\_%%'
UNION ALL
SELECT 'rule', t.nspname, t.relname, r.rulename, 'pg_catalog.pg_rewrite'::regclass, r.oid, 0, true, NULL, NULL, NULL,
       (SELECT row_to_json(x) FROM (SELECT r.ev_enabled::text AS "enabled") x)
  FROM pg_catalog.pg_rewrite r JOIN rel t ON t.oid = r.ev_class WHERE r.rulename <> '_RETURN'
UNION ALL
SELECT 'sequence', coalesce(o.nspname, c.nspname), coalesce(o.relname, ''), c.relname, 'pg_catalog.pg_class'::regclass, c.oid, 0, true,
       CASE WHEN o.oid IS NULL THEN c.relowner END, 's', c.relacl,
       (SELECT row_to_json(x) FROM (SELECT 'bigint'::text AS "type",
         CASE WHEN NOT pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') OR NOT pg_catalog.has_sequence_privilege(c.oid, 'SELECT') THEN 'right' END AS "unseen",
         (SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = d.refobjid AND a.attnum = d.refobjsubid) AS "owned by") x)
  FROM rel c
  LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'a'
       AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjsubid > 0
  LEFT JOIN rel o ON o.oid = d.refobjid
 WHERE c.relkind = 'S'
UNION ALL
SELECT CASE WHEN g.aggfnoid IS NOT NULL THEN 'aggregate' ELSE 'function' END,
       s.nspname, '', pg_catalog.quote_ident(p.proname) || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')',
       'pg_catalog.pg_proc'::regclass, p.oid, 0, true, p.proowner, 'f', p.proacl,
       (SELECT row_to_json(x) FROM (SELECT nullif(p.prosrc, '') AS "body", nullif(encode(p.probin::text::bytea, 'escape'), '') AS "library",
         (SELECT l.lanname::text FROM pg_catalog.pg_language l WHERE l.oid = p.prolang) AS "language", pg_catalog.pg_get_function_result(p.oid) AS "returns",
         pg_catalog.pg_get_function_arguments(p.oid) AS "arguments", nullif(p.proiswindow, false) AS "window",
         p.provolatile::text AS "volatility", nullif(p.proisstrict, false) AS "strict", nullif(p.prosecdef, false) AS "security definer",
         nullif(p.proleakproof, false) AS "leakproof", coalesce(row_to_json(p) ->> 'proparallel', 'u') AS "parallel",
         p.procost::numeric AS "cost", nullif(p.prorows, 0)::numeric AS "rows", nullif(array_to_string(p.proconfig, ', '), '') AS "settings",
         -- what follows is of aggregates only
         g.aggtransfn::text AS "state function", pg_catalog.format_type(g.aggtranstype, NULL) AS "state type", g.aggfinalfn::text AS "final function",
         g.agginitval AS "initial value", nullif(g.aggsortop, 0)::regoperator::text AS "sort operator",
         CASE WHEN g.aggfnoid IS NOT NULL THEN coalesce(row_to_json(g) ->> 'aggcombinefn', '-') END AS "combine function",
         CASE WHEN g.aggfnoid IS NOT NULL THEN coalesce(row_to_json(g) ->> 'aggserialfn', '-') END AS "serial function",
         CASE WHEN g.aggfnoid IS NOT NULL THEN coalesce(row_to_json(g) ->> 'aggdeserialfn', '-') END AS "deserial function",
         CASE WHEN g.aggfnoid IS NOT NULL THEN coalesce(row_to_json(g) ->> 'aggmtransfn', '-') END AS "moving state function",
         CASE WHEN g.aggfnoid IS NOT NULL THEN coalesce(row_to_json(g) ->> 'aggminvtransfn', '-') END AS "moving inverse function",
         CASE WHEN g.aggfnoid IS NOT NULL THEN coalesce(row_to_json(g) ->> 'aggmfinalfn', '-') END AS "moving final function",
         CASE WHEN g.aggfnoid IS NOT NULL THEN row_to_json(g) ->> 'aggminitval' END AS "moving initial value",
         CASE WHEN g.aggfnoid IS NOT NULL THEN coalesce(row_to_json(g) ->> 'aggkind', 'n') END AS "kind",
         CASE WHEN row_to_json(g) ->> 'aggfinalextra' = 'true' THEN true END AS "final extra") x)
  FROM pg_catalog.pg_proc p JOIN space s ON s.oid = p.pronamespace LEFT JOIN pg_catalog.pg_aggregate g ON g.aggfnoid = p.oid
 WHERE NOT EXISTS (SELECT 1 FROM member m WHERE m.classid = 'pg_catalog.pg_proc'::regclass AND m.objid = p.oid)
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i')
UNION ALL
SELECT CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'c' THEN 'composite type' WHEN 'b' THEN 'base type' WHEN 'p' THEN 'shell type' ELSE 'range type' END,
       s.nspname, '', t.typname, 'pg_catalog.pg_type'::regclass, t.oid, 0, true, t.typowner, 'T', t.typacl,
       (SELECT row_to_json(x) FROM (SELECT
         (SELECT json_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid) AS "labels",
         CASE t.typtype WHEN 'd' THEN pg_catalog.format_type(t.typbasetype, t.typtypmod) END AS "base",
         nullif(t.typnotnull, false) AS "not null", CASE WHEN t.typtype = 'd' THEN pg_catalog.pg_get_expr(t.typdefaultbin, 0) ELSE t.typdefault END AS "default",
         (SELECT quote_ident(n.nspname) || '.' || quote_ident(o.collname) FROM pg_catalog.pg_collation o JOIN pg_catalog.pg_namespace n ON n.oid = o.collnamespace
           WHERE t.typtype = 'd' AND o.oid = t.typcollation AND o.collname <> 'default') AS "collation",
         (SELECT string_agg(quote_ident(o.conname) || ' ' || pg_catalog.pg_get_constraintdef(o.oid), ', ' ORDER BY o.conname)
            FROM pg_catalog.pg_constraint o WHERE o.contypid = t.oid AND o.contype = 'c') AS "constraints",
         (SELECT string_agg(quote_ident(o.conname) || ' ' || pg_catalog.obj_description(o.oid, 'pg_constraint'), ', ' ORDER BY o.conname)
            FROM pg_catalog.pg_constraint o WHERE o.contypid = t.oid) AS "comments on constraints",
         CASE t.typtype WHEN 'c' THEN (SELECT string_agg(pg_catalog.quote_ident(a.attname) || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
            FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) END AS "attributes",
         (SELECT pg_catalog.format_type(r.rngsubtype, NULL) || ' ' || coalesce((SELECT o.opcname::text FROM pg_catalog.pg_opclass o WHERE o.oid = r.rngsubopc), '')
            || ' ' || r.rngcanonical::text || ' ' || r.rngsubdiff::text FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid) AS "range",
         CASE t.typtype WHEN 'b' THEN concat_ws(' ', t.typinput, t.typoutput, t.typreceive, t.typsend, t.typlen, t.typbyval, t.typalign, t.typstorage) END AS "functions") x)
  FROM pg_catalog.pg_type t JOIN space s ON s.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
 WHERE (t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND c.relkind = 'c') OR (t.typtype = 'b' AND NOT (t.typelem <> 0 AND t.typlen = -1))
        OR (t.typtype = 'p' AND NOT t.typisdefined))
   AND NOT EXISTS (SELECT 1 FROM member m WHERE m.classid = 'pg_catalog.pg_type'::regclass AND m.objid = t.oid)
UNION ALL
SELECT 'operator', s.nspname, '', o.oprname || '(' || coalesce(pg_catalog.format_type(nullif(o.oprleft, 0), NULL), 'NONE') || ', ' || coalesce(pg_catalog.format_type(nullif(o.oprright, 0), NULL), 'NONE') || ')',
       'pg_catalog.pg_operator'::regclass, o.oid, 0, true, o.oprowner, NULL, NULL,
       (SELECT row_to_json(x) FROM (SELECT o.oprcode::text AS "function", pg_catalog.format_type(o.oprresult, NULL) AS "returns",
         nullif(o.oprcom, 0)::regoperator::text AS "commutator", nullif(o.oprnegate, 0)::regoperator::text AS "negator",
         o.oprrest::text AS "restrict", o.oprjoin::text AS "join", o.oprcanmerge AS "merges", o.oprcanhash AS "hashes") x)
  FROM pg_catalog.pg_operator o JOIN space s ON s.oid = o.oprnamespace
 WHERE o.oprcode::oid <> 0 -- a shell stands for a commutator or negator that nobody has made; no dump has it
   AND NOT EXISTS (SELECT 1 FROM member m WHERE m.classid = 'pg_catalog.pg_operator'::regclass AND m.objid = o.oid)
UNION ALL
SELECT 'operator class', s.nspname, '', o.opcname || ' using ' || a.amname, 'pg_catalog.pg_opclass'::regclass, o.oid, 0, true, o.opcowner, NULL, NULL,
       (SELECT row_to_json(x) FROM (SELECT pg_catalog.format_type(o.opcintype, NULL) AS "type", o.opcdefault AS "default", pg_catalog.format_type(nullif(o.opckeytype, 0), NULL) AS "key type",
         (SELECT f.opfname::text FROM pg_catalog.pg_opfamily f WHERE f.oid = o.opcfamily) AS "family") x)
  FROM pg_catalog.pg_opclass o JOIN space s ON s.oid = o.opcnamespace JOIN pg_catalog.pg_am a ON a.oid = o.opcmethod
 WHERE NOT EXISTS (SELECT 1 FROM member m WHERE m.classid = 'pg_catalog.pg_opclass'::regclass AND m.objid = o.oid)
UNION ALL
SELECT 'operator family', s.nspname, '', f.opfname || ' using ' || a.amname, 'pg_catalog.pg_opfamily'::regclass, f.oid, 0, true, f.opfowner, NULL, NULL,
       (SELECT row_to_json(x) FROM (SELECT
         (SELECT string_agg(concat_ws(' ', o.amopstrategy, o.amopopr::regoperator, o.amoppurpose), ', ' ORDER BY o.amopstrategy, o.amopopr::regoperator::text)
            FROM pg_catalog.pg_amop o WHERE o.amopfamily = f.oid) AS "operators",
         (SELECT string_agg(concat_ws(' ', o.amprocnum, o.amproc::regprocedure), ', ' ORDER BY o.amprocnum, o.amproc::regprocedure::text)
            FROM pg_catalog.pg_amproc o WHERE o.amprocfamily = f.oid) AS "functions") x)
  FROM pg_catalog.pg_opfamily f JOIN space s ON s.oid = f.opfnamespace JOIN pg_catalog.pg_am a ON a.oid = f.opfmethod
 WHERE NOT EXISTS (SELECT 1 FROM member m WHERE m.classid = 'pg_catalog.pg_opfamily'::regclass AND m.objid = f.oid)
UNION ALL
SELECT 'cast', '', '', pg_catalog.format_type(c.castsource, NULL) || ' as ' || pg_catalog.format_type(c.casttarget, NULL), 'pg_catalog.pg_cast'::regclass, c.oid, 0, true, NULL, NULL, NULL,
       (SELECT row_to_json(x) FROM (SELECT nullif(c.castfunc, 0)::regprocedure::text AS "function", c.castcontext::text AS "context", c.castmethod::text AS "method") x)
  FROM pg_catalog.pg_cast c WHERE c.oid >= 16384
   AND NOT EXISTS (SELECT 1 FROM member m WHERE m.classid = 'pg_catalog.pg_cast'::regclass AND m.objid = c.oid)
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_cast'::regclass AND d.objid = c.oid AND d.deptype = 'i')
UNION ALL
SELECT 'collation', s.nspname, '', o.collname, 'pg_catalog.pg_collation'::regclass, o.oid, 0, true, o.collowner, NULL, NULL,
       (SELECT row_to_json(x) FROM (SELECT 'c'::text AS "provider", o.collcollate::text AS "locale", o.collctype::text AS "character types", true AS "deterministic") x)
  FROM pg_catalog.pg_collation o JOIN space s ON s.oid = o.collnamespace
 WHERE NOT EXISTS (SELECT 1 FROM member m WHERE m.classid = 'pg_catalog.pg_collation'::regclass AND m.objid = o.oid)
UNION ALL
SELECT 'conversion', s.nspname, '', o.conname, 'pg_catalog.pg_conversion'::regclass, o.oid, 0, true, o.conowner, NULL, NULL,
       (SELECT row_to_json(x) FROM (SELECT pg_catalog.pg_encoding_to_char(o.conforencoding)::text AS "from", pg_catalog.pg_encoding_to_char(o.contoencoding)::text AS "to",
         o.conproc::text AS "function", o.condefault AS "default") x)
  FROM pg_catalog.pg_conversion o JOIN space s ON s.oid = o.connamespace
UNION ALL
SELECT 'text search configuration', s.nspname, '', o.cfgname, 'pg_catalog.pg_ts_config'::regclass, o.oid, 0, true, o.cfgowner, NULL, NULL,
       (SELECT row_to_json(x) FROM (SELECT (SELECT p.prsname::text FROM pg_catalog.pg_ts_parser p WHERE p.oid = o.cfgparser) AS "parser",
         (SELECT string_agg(m.maptokentype || ' ' || m.mapdict::regdictionary, ', ' ORDER BY m.maptokentype, m.mapseqno) FROM pg_catalog.pg_ts_config_map m WHERE m.mapcfg = o.oid) AS "mappings") x)
  FROM pg_catalog.pg_ts_config o JOIN space s ON s.oid = o.cfgnamespace
 WHERE NOT EXISTS (SELECT 1 FROM member m WHERE m.classid = 'pg_catalog.pg_ts_config'::regclass AND m.objid = o.oid)
UNION ALL
SELECT 'text search dictionary', s.nspname, '', o.dictname, 'pg_catalog.pg_ts_dict'::regclass, o.oid, 0, true, o.dictowner, NULL, NULL,
       (SELECT row_to_json(x) FROM (SELECT (SELECT p.tmplname::text FROM pg_catalog.pg_ts_template p WHERE p.oid = o.dicttemplate) AS "template", o.dictinitoption AS "options") x)
  FROM pg_catalog.pg_ts_dict o JOIN space s ON s.oid = o.dictnamespace
 WHERE NOT EXISTS (SELECT 1 FROM member m WHERE m.classid = 'pg_catalog.pg_ts_dict'::regclass AND m.objid = o.oid)
UNION ALL
SELECT 'text search parser', s.nspname, '', o.prsname, 'pg_catalog.pg_ts_parser'::regclass, o.oid, 0, true, NULL, NULL, NULL,
       (SELECT row_to_json(x) FROM (SELECT concat_ws(' ', o.prsstart, o.prstoken, o.prsend, o.prsheadline, o.prslextype) AS "functions") x)
  FROM pg_catalog.pg_ts_parser o JOIN space s ON s.oid = o.prsnamespace
 WHERE NOT EXISTS (SELECT 1 FROM member m WHERE m.classid = 'pg_catalog.pg_ts_parser'::regclass AND m.objid = o.oid)
UNION ALL
SELECT 'text search template', s.nspname, '', o.tmplname, 'pg_catalog.pg_ts_template'::regclass, o.oid, 0, true, NULL, NULL, NULL,
       (SELECT row_to_json(x) FROM (SELECT concat_ws(' ', o.tmplinit, o.tmpllexize) AS "functions") x)
  FROM pg_catalog.pg_ts_template o JOIN space s ON s.oid = o.tmplnamespace
 WHERE NOT EXISTS (SELECT 1 FROM member m WHERE m.classid = 'pg_catalog.pg_ts_template'::regclass AND m.objid = o.oid)
UNION ALL
SELECT 'extension', '', '', e.extname, 'pg_catalog.pg_extension'::regclass, e.oid, -1, true, NULL, NULL, NULL,
       (SELECT row_to_json(x) FROM (SELECT d.description AS "comment" FROM pg_catalog.pg_description d JOIN pg_catalog.pg_available_extensions a ON a.name = e.extname
         WHERE d.classoid = 'pg_catalog.pg_extension'::regclass AND d.objoid = e.oid AND d.description <> a.comment) x)
  FROM pg_catalog.pg_extension e
UNION ALL
SELECT 'language', '', '', l.lanname, 'pg_catalog.pg_language'::regclass, l.oid, 0, true, l.lanowner, 'l', l.lanacl,
       (SELECT row_to_json(x) FROM (SELECT l.lanpltrusted AS "trusted", nullif(l.lanplcallfoid, 0)::regprocedure::text AS "handler") x)
  FROM pg_catalog.pg_language l WHERE l.lanispl AND NOT EXISTS (SELECT 1 FROM member m WHERE m.classid = 'pg_catalog.pg_language'::regclass AND m.objid = l.oid)
UNION ALL
SELECT 'access method', '', '', a.amname, 'pg_catalog.pg_am'::regclass, a.oid, 0, true, NULL, NULL, NULL,
       (SELECT row_to_json(x) FROM (SELECT row_to_json(a) ->> 'amhandler' AS "handler", row_to_json(a) ->> 'amtype' AS "type") x)
  FROM pg_catalog.pg_am a WHERE a.oid >= 16384 AND NOT EXISTS (SELECT 1 FROM member m WHERE m.classid = 'pg_catalog.pg_am'::regclass AND m.objid = a.oid)
UNION ALL
SELECT 'foreign data wrapper', '', '', w.fdwname, 'pg_catalog.pg_foreign_data_wrapper'::regclass, w.oid, 0, true, w.fdwowner, 'F', w.fdwacl,
       (SELECT row_to_json(x) FROM (SELECT nullif(w.fdwhandler, 0)::regprocedure::text AS "handler", nullif(w.fdwvalidator, 0)::regprocedure::text AS "validator",
         (SELECT string_agg(o.text, ', ' ORDER BY o.text) FROM unnest(w.fdwoptions) o(text)) AS "foreign options") x)
  FROM pg_catalog.pg_foreign_data_wrapper w WHERE NOT EXISTS (SELECT 1 FROM member m WHERE m.classid = 'pg_catalog.pg_foreign_data_wrapper'::regclass AND m.objid = w.oid)
UNION ALL
SELECT 'foreign server', '', '', s.srvname, 'pg_catalog.pg_foreign_server'::regclass, s.oid, 0, true, s.srvowner, 'S', s.srvacl,
       (SELECT row_to_json(x) FROM (SELECT s.srvtype AS "type", s.srvversion AS "version",
         (SELECT w.fdwname::text FROM pg_catalog.pg_foreign_data_wrapper w WHERE w.oid = s.srvfdw) AS "wrapper",
         (SELECT string_agg(o.text, ', ' ORDER BY o.text) FROM unnest(s.srvoptions) o(text)) AS "foreign options") x)
  FROM pg_catalog.pg_foreign_server s WHERE NOT EXISTS (SELECT 1 FROM member m WHERE m.classid = 'pg_catalog.pg_foreign_server'::regclass AND m.objid = s.oid)
UNION ALL
SELECT 'user mapping', '', '', CASE u.umuser WHEN 0 THEN 'PUBLIC' ELSE quote_ident(u.usename) END || ' on ' || quote_ident(u.srvname), 1418, u.umid, -1, true, NULL, NULL, NULL,
       (SELECT row_to_json(x) FROM (SELECT (SELECT string_agg(split_part(o.text, '=', 1), ', ' ORDER BY 1) FROM unnest(u.umoptions) o(text)) AS "option names",
         nullif(u.umoptions IS NULL AND NOT (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)
           AND NOT ((u.umuser = 0 OR u.usename = current_user) AND (SELECT pg_catalog.pg_has_role(v.srvowner, 'USAGE') FROM pg_catalog.pg_foreign_server v WHERE v.oid = u.srvid)), false) AS "unseen") x)
  FROM pg_catalog.pg_user_mappings u WHERE NOT EXISTS (SELECT 1 FROM member m WHERE m.objid = u.srvid AND m.classid = 'pg_catalog.pg_foreign_server'::regclass)
UNION ALL
SELECT 'event trigger', '', '', e.evtname, 'pg_catalog.pg_event_trigger'::regclass, e.oid, 0, true, e.evtowner, NULL, NULL,
       (SELECT row_to_json(x) FROM (SELECT e.evtevent::text AS "event", e.evtfoid::regprocedure::text AS "function",
         nullif(array_to_string(e.evttags, ', '), '') AS "tags", e.evtenabled::text AS "enabled") x)
  FROM pg_catalog.pg_event_trigger e WHERE NOT EXISTS (SELECT 1 FROM member m WHERE m.classid = 'pg_catalog.pg_event_trigger'::regclass AND m.objid = e.oid)
UNION ALL
SELECT 'default privileges', coalesce(s.nspname, ''), '', concat_ws(' ', 'of', pg_catalog.pg_get_userbyid(d.defaclrole), 'for',
         CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions' ELSE 'types' END),
       'pg_catalog.pg_default_acl'::regclass, d.oid, 0, true, d.defaclrole, CASE d.defaclobjtype WHEN 'S' THEN 's'::"char" ELSE d.defaclobjtype END, d.defaclacl, NULL
  FROM pg_catalog.pg_default_acl d LEFT JOIN pg_catalog.pg_namespace s ON s.oid = d.defaclnamespace
UNION ALL
SELECT 'large object', '', '', m.oid::text, 'pg_catalog.pg_largeobject'::regclass, m.oid, 0, true, m.lomowner, 'L', m.lomacl, NULL
  FROM pg_catalog.pg_largeobject_metadata m
 WHERE m.lomacl IS NOT NULL OR m.lomowner <> (SELECT d.datdba FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
    OR EXISTS (SELECT 1 FROM pg_catalog.pg_description d WHERE d.classoid = 'pg_catalog.pg_largeobject'::regclass AND d.objoid = m.oid)
UNION ALL
SELECT 'security label', coalesce(CASE WHEN l.objtype <> 'database' THEN split_part(l.objname, '.', 1) END, ''), '',
       concat_ws(' ', l.provider, 'on', l.objtype, CASE WHEN l.objtype <> 'database' THEN l.objname END), NULL, l.objoid, -1, true, NULL, NULL, NULL,
       (SELECT row_to_json(x) FROM (SELECT l.provider AS "provider",
         concat_ws(' ', upper(l.objtype), CASE WHEN l.objtype <> 'database' THEN l.objname END) AS "object", l.label AS "label") x)
  FROM pg_catalog.pg_seclabels l, pg_catalog.pg_database b
 WHERE b.datname = pg_catalog.current_database()
   AND (l.objtype NOT IN ('role', 'database', 'tablespace') OR (l.objtype = 'database' AND l.objoid = b.oid))
UNION ALL
SELECT 'database', '', '', '', 'pg_catalog.pg_database'::regclass, b.oid, 0, true, b.datdba, 'd', b.datacl,
       (SELECT row_to_json(x) FROM (SELECT pg_catalog.shobj_description(b.oid, 'pg_database') AS "comment", pg_catalog.pg_encoding_to_char(b.encoding)::text AS "encoding",
         nullif(b.datconnlimit, -1) AS "connection limit", 'libc'::text AS "locale provider",
         -- libc's names are spelled in more than one way: C.UTF-8 is C.utf8
         regexp_replace(regexp_replace(b.datcollate::text, '^POSIX$', 'C'), '\.UTF-?8', '.utf8', 'i') AS "locale",
         regexp_replace(regexp_replace(b.datctype::text, '^POSIX$', 'C'), '\.UTF-?8', '.utf8', 'i') AS "character types") x)
  FROM pg_catalog.pg_database b WHERE b.datname = pg_catalog.current_database()
UNION ALL
SELECT 'database setting', '', '', split_part(v.text, '=', 1) || coalesce(' for ' || u.rolname, ''), 'pg_catalog.pg_db_role_setting'::regclass, s.setrole, -1, true, NULL, NULL, NULL,
       (SELECT row_to_json(x) FROM (SELECT split_part(v.text, '=', 1) AS "setting", u.rolname::text AS "role", substr(v.text, strpos(v.text, '=') + 1) AS "value") x)
  FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database b ON b.oid = s.setdatabase CROSS JOIN unnest(s.setconfig) v(text)
  LEFT JOIN pg_catalog.pg_roles u ON u.oid = s.setrole
 WHERE b.datname = pg_catalog.current_database()
)
SELECT t.kind, t.schema, t.tab, t.name, coalesce(t.class::oid::bigint, 0), t.oid::bigint, t.sub, t.usable,
       CASE WHEN t.parts IS NULL THEN '{' ELSE left(t.parts::text, -1) || ', ' END || substr(row_to_json(m)::text, 2)
  FROM thing t LEFT JOIN pg_catalog.pg_description d ON d.classoid = t.class AND d.objoid = t.oid AND d.objsubid = t.sub
 CROSS JOIN LATERAL (SELECT coalesce(d.description, t.parts ->> 'comment') AS "comment",
         CASE WHEN t.owner IS NOT NULL THEN pg_catalog.pg_get_userbyid(t.owner)::text END AS "owner",
         CASE WHEN t.code IS NOT NULL AND (t.acl IS NOT NULL OR t.code <> 'c') THEN
            (SELECT ('[' || string_agg('[' || to_json(CASE x.grantee WHEN 0 THEN '' ELSE pg_catalog.pg_get_userbyid(x.grantee)::text END)::text
                                       || ', ' || to_json(x.privilege_type)::text || ', ' || x.is_grantable::text || ', '
                                       || to_json(CASE WHEN x.grantor <> coalesce(t.owner, (SELECT o.relowner FROM pg_catalog.pg_class o WHERE o.oid = t.oid)) THEN pg_catalog.pg_get_userbyid(x.grantor)::text ELSE '' END)::text || ']', ', ') || ']')::json
               FROM pg_catalog.aclexplode(coalesce(t.acl, pg_catalog.acldefault(t.code, t.owner))) x
                -- a sequence that a column owns is not compared by its owner, who is that of the table
               WHERE x.grantee IS DISTINCT FROM coalesce(t.owner, (SELECT o.relowner FROM pg_catalog.pg_class o WHERE o.oid = t.oid AND t.kind = 'sequence'))) END AS "privileges",
         -- an entry of one schema adds to the rights that are usual, and has none of the role's own
         CASE WHEN t.acl IS NOT NULL AND (t.kind <> 'default privileges' OR t.schema = '') THEN
            (SELECT string_agg(x.privilege_type, ', ' ORDER BY x.privilege_type)
               FROM (SELECT coalesce(t.owner, (SELECT o.relowner FROM pg_catalog.pg_class o WHERE o.oid = t.oid AND t.kind = 'sequence')) AS owner) s
              CROSS JOIN LATERAL pg_catalog.aclexplode(pg_catalog.acldefault(t.code, s.owner)) x
              WHERE x.grantee = s.owner
                AND NOT EXISTS (SELECT 1 FROM pg_catalog.aclexplode(t.acl) y WHERE y.grantee = s.owner AND y.privilege_type = x.privilege_type)) END AS "rights taken") m
 ORDER BY 1, 2, 3, 4
