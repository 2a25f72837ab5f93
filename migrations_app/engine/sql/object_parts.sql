-- Every object that must stand on both sides: kind, schema, table ('' when it belongs to none), name, catalog and oid,
-- whether it is in use (a valid index, a validated constraint), and what must be the same, as JSON.
-- To write an expression a server locks the table that it is about (ACCESS SHARE), which somebody may hold for long:
-- `skip` names tables to do without. What needs the locks of further tables is in object_texts.sql, and what came with 9.5
-- in object_policies.sql.
-- :parameters skip (oid[])   :needs a lock_timeout   :versions 10+   (newer columns are read through to_jsonb so that older servers parse it)
WITH space AS (
  SELECT oid, nspname, nspowner, nspacl FROM pg_catalog.pg_namespace
   WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'towpath') AND nspname !~ '^pg_(temp|toast_temp)_'
), member AS (
  SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'
), rel AS (
  SELECT c.oid, c.relname, c.relkind, c.relpersistence, c.relpartbound, c.reloftype, c.reloptions,
         c.reltoastrelid, c.relam, c.relreplident, c.relispopulated, c.relowner, c.relacl, s.nspname FROM pg_catalog.pg_class c JOIN space s ON s.oid = c.relnamespace
   WHERE c.relpersistence <> 't' AND c.oid <> ALL (%(skip)s::oid[]) AND NOT EXISTS (
     SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_class'::regclass AND m.objid = c.oid)
), thing(kind, schema, tab, name, class, oid, sub, usable, owner, code, acl, parts) AS (
SELECT 'schema'::text, s.nspname::text, ''::text, ''::text, 'pg_catalog.pg_namespace'::regclass, s.oid, 0, true, s.nspowner, 'n'::"char", s.nspacl, '{}'::jsonb
  FROM space s WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_namespace'::regclass AND m.objid = s.oid)
UNION ALL
SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' ELSE 'table' END,
       c.nspname, c.relname, '', 'pg_catalog.pg_class'::regclass, c.oid, 0, true, c.relowner, 'r', c.relacl,
       jsonb_build_object(
         'kind', CASE WHEN c.relkind = 'p' THEN 'partitioned' END,
         'persistence', CASE c.relpersistence WHEN 'u' THEN 'unlogged' END,
         'parents', (SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno) FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid),
         'of type', (SELECT pg_catalog.format_type(x.oid, NULL) FROM pg_catalog.pg_type x WHERE x.oid = c.reloftype),
         'partition', pg_catalog.pg_get_expr(c.relpartbound, 0), 'partition key', pg_catalog.pg_get_partkeydef(c.oid),
         'options', (SELECT string_agg(o, ', ' ORDER BY o) FROM unnest(c.reloptions) o),
         'toast options', (SELECT string_agg(o, ', ' ORDER BY o) FROM pg_catalog.pg_class x, unnest(x.reloptions) o WHERE x.oid = c.reltoastrelid),
         'access method', (SELECT nullif(x.amname, CASE WHEN c.relkind <> 'p' THEN 'heap' END)
            FROM pg_catalog.pg_am x WHERE x.oid = c.relam AND c.relkind IN ('r', 'm', 'p')),
         -- as the statement has it; an index that is gone leaves the table without any
         'replica identity', CASE WHEN c.relkind IN ('r', 'p') THEN CASE c.relreplident WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' WHEN 'i' THEN
            coalesce((SELECT 'USING INDEX "' || replace(y.relname::text, '"', '""') || '"' FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class y ON y.oid = x.indexrelid
                       WHERE x.indrelid = c.oid AND x.indisreplident LIMIT 1), 'NOTHING') ELSE 'DEFAULT' END END,
         'filled', CASE WHEN c.relkind = 'm' THEN c.relispopulated END,
         'server', (SELECT x.srvname FROM pg_catalog.pg_foreign_table f JOIN pg_catalog.pg_foreign_server x ON x.oid = f.ftserver WHERE f.ftrelid = c.oid),
         'foreign options', (SELECT (SELECT string_agg(o.text, ', ' ORDER BY o.text) FROM unnest(f.ftoptions) o(text)) FROM pg_catalog.pg_foreign_table f WHERE f.ftrelid = c.oid))
  FROM rel c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
UNION ALL
SELECT 'column', c.nspname, c.relname, a.attname, 'pg_catalog.pg_class'::regclass, c.oid, a.attnum::int, true, NULL, 'c', a.attacl,
       jsonb_build_object(
         'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
         'not null', CASE WHEN NOT a.attnotnull THEN NULL WHEN EXISTS (SELECT FROM pg_catalog.pg_constraint o
            WHERE o.conrelid = c.oid AND o.contype = 'n' AND o.conkey = ARRAY[a.attnum] AND NOT o.convalidated) THEN 'not validated' ELSE 'yes' END,
         'default', CASE WHEN a.atthasdef AND coalesce(w.newer ->> 'attgenerated', '') = '' THEN
            (SELECT pg_catalog.pg_get_expr(d.adbin, 0) FROM pg_catalog.pg_attrdef d WHERE d.adrelid = c.oid AND d.adnum = a.attnum) END,
         'identity', CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END,
         'generated', CASE coalesce(w.newer ->> 'attgenerated', '') WHEN 's' THEN 'stored' WHEN 'v' THEN 'virtual' END,
         'collation', (SELECT quote_ident(n.nspname) || '.' || quote_ident(o.collname) FROM pg_catalog.pg_collation o JOIN pg_catalog.pg_namespace n ON n.oid = o.collnamespace
                        WHERE o.oid = a.attcollation AND o.oid <> t.typcollation),
         'storage', CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage::text END,
         'compression', nullif(w.newer ->> 'attcompression', ''),
         'statistics target', CASE WHEN a.attstattarget >= 0 THEN a.attstattarget END,
         'options', nullif(array_to_string(a.attoptions, ', '), ''),
         'foreign options', (SELECT string_agg(o.text, ', ' ORDER BY o.text) FROM unnest(a.attfdwoptions) o(text)))
  FROM rel c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
 CROSS JOIN LATERAL (SELECT to_jsonb(a) AS newer OFFSET 0) w
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
UNION ALL
SELECT 'index', t.nspname, t.relname, i.relname, 'pg_catalog.pg_class'::regclass, i.oid, 0, x.indisvalid, NULL, NULL, NULL,
       jsonb_build_object('definition', pg_catalog.pg_get_indexdef(x.indexrelid), 'clustered', nullif(x.indisclustered, false),
         'part of', (SELECT n.inhparent::regclass::text FROM pg_catalog.pg_inherits n WHERE n.inhrelid = i.oid))
  FROM pg_catalog.pg_index x JOIN rel t ON t.oid = x.indrelid JOIN rel i ON i.oid = x.indexrelid
 WHERE t.relkind IN ('r', 'p', 'm')
UNION ALL
SELECT 'constraint', t.nspname, t.relname, o.conname, 'pg_catalog.pg_constraint'::regclass, o.oid, 0, o.convalidated, NULL, NULL, NULL,
       jsonb_build_object('definition', regexp_replace(pg_catalog.pg_get_constraintdef(o.oid), ' NOT VALID$', ''),
         'triggers off', (SELECT string_agg(DISTINCT g.tgrelid::regclass::text, ', ') FROM pg_catalog.pg_trigger g
                           WHERE o.contype = 'f' AND g.tgconstraint = o.oid AND g.tgenabled IN ('D', 'R')))
  FROM pg_catalog.pg_constraint o JOIN rel t ON t.oid = o.conrelid
 WHERE o.contype IN ('p', 'u', 'f', 'c', 'x') AND coalesce(to_jsonb(o) ->> 'conparentid', '0') = '0'
UNION ALL
SELECT 'trigger', t.nspname, t.relname, g.tgname, 'pg_catalog.pg_trigger'::regclass, g.oid, 0, true, NULL, NULL, NULL,
       jsonb_build_object('definition', pg_catalog.pg_get_triggerdef(g.oid), 'enabled', g.tgenabled)
  FROM pg_catalog.pg_trigger g JOIN rel t ON t.oid = g.tgrelid
 WHERE NOT g.tgisinternal AND g.tgname NOT LIKE 'towpath\_%%'
UNION ALL
SELECT 'rule', t.nspname, t.relname, r.rulename, 'pg_catalog.pg_rewrite'::regclass, r.oid, 0, true, NULL, NULL, NULL,
       jsonb_build_object('enabled', r.ev_enabled)
  FROM pg_catalog.pg_rewrite r JOIN rel t ON t.oid = r.ev_class WHERE r.rulename <> '_RETURN'
UNION ALL
SELECT 'sequence', coalesce(o.nspname, c.nspname), coalesce(o.relname, ''), c.relname, 'pg_catalog.pg_class'::regclass, c.oid, 0, true,
       CASE WHEN o.oid IS NULL THEN c.relowner END, 's', c.relacl,
       jsonb_build_object('type', q.seqtypid::regtype::text, 'start', q.seqstart, 'increment', q.seqincrement, 'minimum', q.seqmin, 'maximum', q.seqmax,
         'cache', q.seqcache, 'cycle', nullif(q.seqcycle, false),
         'owned by', (SELECT a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = d.refobjid AND a.attnum = d.refobjsubid))
  FROM pg_catalog.pg_sequence q JOIN rel c ON c.oid = q.seqrelid
  LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
       AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjsubid > 0
  LEFT JOIN rel o ON o.oid = d.refobjid
UNION ALL
SELECT 'statistics object', t.nspname, t.relname, quote_ident(n.nspname) || '.' || quote_ident(x.stxname), 'pg_catalog.pg_statistic_ext'::regclass, x.oid, 0, true, x.stxowner, NULL, NULL,
       jsonb_build_object('definition', pg_catalog.pg_get_statisticsobjdef(x.oid),
         'target', CASE WHEN (to_jsonb(x) ->> 'stxstattarget')::int >= 0 THEN to_jsonb(x) ->> 'stxstattarget' END)
  FROM pg_catalog.pg_statistic_ext x JOIN rel t ON t.oid = x.stxrelid JOIN pg_catalog.pg_namespace n ON n.oid = x.stxnamespace
UNION ALL
SELECT CASE WHEN g.aggfnoid IS NOT NULL THEN 'aggregate' WHEN to_jsonb(p) ->> 'prokind' = 'p' THEN 'procedure' ELSE 'function' END,
       s.nspname, '', pg_catalog.quote_ident(p.proname) || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')',
       'pg_catalog.pg_proc'::regclass, p.oid, 0, true, p.proowner, 'f', p.proacl,
       jsonb_build_object('body', nullif(p.prosrc, ''), 'library', nullif(encode(p.probin::text::bytea, 'escape'), ''),
         'language', (SELECT l.lanname FROM pg_catalog.pg_language l WHERE l.oid = p.prolang), 'returns', pg_catalog.pg_get_function_result(p.oid),
         'arguments', pg_catalog.pg_get_function_arguments(p.oid), 'window', CASE WHEN to_jsonb(p) ->> 'prokind' = 'w' OR to_jsonb(p) ->> 'proiswindow' = 'true' THEN true END,
         'volatility', p.provolatile, 'strict', nullif(p.proisstrict, false), 'security definer', nullif(p.prosecdef, false),
         'leakproof', nullif(p.proleakproof, false), 'parallel', p.proparallel, 'cost', p.procost::numeric, 'rows', nullif(p.prorows, 0)::numeric,
         'settings', nullif(array_to_string(p.proconfig, ', '), ''),
         'support', nullif(coalesce(to_jsonb(p) ->> 'prosupport', '-'), '-'))
       || CASE WHEN g.aggfnoid IS NULL THEN '{}'::jsonb ELSE jsonb_build_object('state function', g.aggtransfn, 'state type', pg_catalog.format_type(g.aggtranstype, NULL),
         'final function', g.aggfinalfn, 'combine function', g.aggcombinefn, 'serial function', g.aggserialfn, 'deserial function', g.aggdeserialfn,
         'initial value', g.agginitval, 'moving state function', g.aggmtransfn, 'moving inverse function', g.aggminvtransfn,
         'moving final function', g.aggmfinalfn, 'moving initial value', g.aggminitval, 'kind', g.aggkind, 'sort operator', nullif(g.aggsortop, 0)::regoperator,
         'final extra', nullif(g.aggfinalextra, false)) END
  FROM pg_catalog.pg_proc p JOIN space s ON s.oid = p.pronamespace LEFT JOIN pg_catalog.pg_aggregate g ON g.aggfnoid = p.oid
 WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_proc'::regclass AND m.objid = p.oid)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i')
UNION ALL
SELECT CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'c' THEN 'composite type' WHEN 'b' THEN 'base type' WHEN 'p' THEN 'shell type' ELSE 'range type' END,
       s.nspname, '', t.typname, 'pg_catalog.pg_type'::regclass, t.oid, 0, true, t.typowner, 'T', t.typacl,
       jsonb_build_object(
         'labels', (SELECT jsonb_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid),
         'base', CASE t.typtype WHEN 'd' THEN pg_catalog.format_type(t.typbasetype, t.typtypmod) END,
         'not null', nullif(t.typnotnull, false), 'default', CASE WHEN t.typtype = 'd' THEN pg_catalog.pg_get_expr(t.typdefaultbin, 0) ELSE t.typdefault END,
         'collation', (SELECT quote_ident(n.nspname) || '.' || quote_ident(o.collname) FROM pg_catalog.pg_collation o JOIN pg_catalog.pg_namespace n ON n.oid = o.collnamespace
                        WHERE t.typtype = 'd' AND o.oid = t.typcollation AND o.collname <> 'default'),
         'constraints', (SELECT string_agg(quote_ident(o.conname) || ' ' || pg_catalog.pg_get_constraintdef(o.oid), ', ' ORDER BY o.conname)
                           FROM pg_catalog.pg_constraint o WHERE o.contypid = t.oid AND o.contype = 'c'),
         'comments on constraints', (SELECT string_agg(quote_ident(o.conname) || ' ' || pg_catalog.obj_description(o.oid, 'pg_constraint'), ', ' ORDER BY o.conname)
                           FROM pg_catalog.pg_constraint o WHERE o.contypid = t.oid),
         'attributes', CASE t.typtype WHEN 'c' THEN (SELECT string_agg(pg_catalog.quote_ident(a.attname) || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
                          FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) END,
         'range', (SELECT pg_catalog.format_type(r.rngsubtype, NULL) || ' ' || coalesce((SELECT x.opcname FROM pg_catalog.pg_opclass x WHERE x.oid = r.rngsubopc), '')
                     || ' ' || r.rngcanonical::text || ' ' || r.rngsubdiff::text FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid),
         'functions', CASE t.typtype WHEN 'b' THEN concat_ws(' ', t.typinput, t.typoutput, t.typreceive, t.typsend, t.typlen, t.typbyval, t.typalign, t.typstorage) END)
  FROM pg_catalog.pg_type t JOIN space s ON s.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
 WHERE (t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND c.relkind = 'c') OR (t.typtype = 'b' AND NOT (t.typelem <> 0 AND t.typlen = -1))
        OR (t.typtype = 'p' AND NOT t.typisdefined))
   AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_type'::regclass AND m.objid = t.oid)
UNION ALL
SELECT 'operator', s.nspname, '', o.oprname || '(' || coalesce(pg_catalog.format_type(nullif(o.oprleft, 0), NULL), 'NONE') || ', ' || coalesce(pg_catalog.format_type(nullif(o.oprright, 0), NULL), 'NONE') || ')',
       'pg_catalog.pg_operator'::regclass, o.oid, 0, true, o.oprowner, NULL, NULL,
       jsonb_build_object('function', o.oprcode, 'returns', pg_catalog.format_type(o.oprresult, NULL), 'commutator', nullif(o.oprcom, 0)::regoperator, 'negator', nullif(o.oprnegate, 0)::regoperator,
         'restrict', o.oprrest, 'join', o.oprjoin, 'merges', o.oprcanmerge, 'hashes', o.oprcanhash)
  FROM pg_catalog.pg_operator o JOIN space s ON s.oid = o.oprnamespace
 WHERE o.oprcode::oid <> 0 -- a shell stands for a commutator or negator that nobody has made; no dump has it
   AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_operator'::regclass AND m.objid = o.oid)
UNION ALL
SELECT 'operator class', s.nspname, '', o.opcname || ' using ' || a.amname, 'pg_catalog.pg_opclass'::regclass, o.oid, 0, true, o.opcowner, NULL, NULL,
       jsonb_build_object('type', pg_catalog.format_type(o.opcintype, NULL), 'default', o.opcdefault, 'key type', pg_catalog.format_type(nullif(o.opckeytype, 0), NULL),
         'family', (SELECT f.opfname FROM pg_catalog.pg_opfamily f WHERE f.oid = o.opcfamily))
  FROM pg_catalog.pg_opclass o JOIN space s ON s.oid = o.opcnamespace JOIN pg_catalog.pg_am a ON a.oid = o.opcmethod
 WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_opclass'::regclass AND m.objid = o.oid)
UNION ALL
SELECT 'operator family', s.nspname, '', f.opfname || ' using ' || a.amname, 'pg_catalog.pg_opfamily'::regclass, f.oid, 0, true, f.opfowner, NULL, NULL,
       jsonb_build_object('operators', (SELECT string_agg(concat_ws(' ', o.amopstrategy, o.amopopr::regoperator, o.amoppurpose), ', ' ORDER BY o.amopstrategy, o.amopopr::regoperator::text)
                                          FROM pg_catalog.pg_amop o WHERE o.amopfamily = f.oid),
         'functions', (SELECT string_agg(concat_ws(' ', o.amprocnum, o.amproc::regprocedure), ', ' ORDER BY o.amprocnum, o.amproc::regprocedure::text)
                         FROM pg_catalog.pg_amproc o WHERE o.amprocfamily = f.oid))
  FROM pg_catalog.pg_opfamily f JOIN space s ON s.oid = f.opfnamespace JOIN pg_catalog.pg_am a ON a.oid = f.opfmethod
 WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_opfamily'::regclass AND m.objid = f.oid)
UNION ALL
SELECT 'cast', '', '', pg_catalog.format_type(c.castsource, NULL) || ' as ' || pg_catalog.format_type(c.casttarget, NULL), 'pg_catalog.pg_cast'::regclass, c.oid, 0, true, NULL, NULL, NULL,
       jsonb_build_object('function', nullif(c.castfunc, 0)::regprocedure, 'context', c.castcontext, 'method', c.castmethod)
  FROM pg_catalog.pg_cast c WHERE c.oid >= 16384
   AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_cast'::regclass AND m.objid = c.oid)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_cast'::regclass AND d.objid = c.oid AND d.deptype = 'i')
UNION ALL
SELECT 'collation', s.nspname, '', o.collname, 'pg_catalog.pg_collation'::regclass, o.oid, 0, true, o.collowner, NULL, NULL,
       jsonb_build_object('provider', o.collprovider, 'locale', coalesce(to_jsonb(o) ->> 'colllocale', to_jsonb(o) ->> 'colliculocale', o.collcollate::text),
         'character types', CASE o.collprovider WHEN 'c' THEN o.collctype::text END,
         'deterministic', coalesce((to_jsonb(o) ->> 'collisdeterministic')::bool, true), 'rules', to_jsonb(o) ->> 'collicurules')
  FROM pg_catalog.pg_collation o JOIN space s ON s.oid = o.collnamespace
 WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_collation'::regclass AND m.objid = o.oid)
UNION ALL
SELECT 'conversion', s.nspname, '', o.conname, 'pg_catalog.pg_conversion'::regclass, o.oid, 0, true, o.conowner, NULL, NULL,
       jsonb_build_object('from', pg_catalog.pg_encoding_to_char(o.conforencoding), 'to', pg_catalog.pg_encoding_to_char(o.contoencoding), 'function', o.conproc, 'default', o.condefault)
  FROM pg_catalog.pg_conversion o JOIN space s ON s.oid = o.connamespace
UNION ALL
SELECT 'text search configuration', s.nspname, '', o.cfgname, 'pg_catalog.pg_ts_config'::regclass, o.oid, 0, true, o.cfgowner, NULL, NULL,
       jsonb_build_object('parser', (SELECT p.prsname FROM pg_catalog.pg_ts_parser p WHERE p.oid = o.cfgparser),
         'mappings', (SELECT string_agg(m.maptokentype || ' ' || m.mapdict::regdictionary, ', ' ORDER BY m.maptokentype, m.mapseqno) FROM pg_catalog.pg_ts_config_map m WHERE m.mapcfg = o.oid))
  FROM pg_catalog.pg_ts_config o JOIN space s ON s.oid = o.cfgnamespace
 WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_ts_config'::regclass AND m.objid = o.oid)
UNION ALL
SELECT 'text search dictionary', s.nspname, '', o.dictname, 'pg_catalog.pg_ts_dict'::regclass, o.oid, 0, true, o.dictowner, NULL, NULL,
       jsonb_build_object('template', (SELECT p.tmplname FROM pg_catalog.pg_ts_template p WHERE p.oid = o.dicttemplate), 'options', o.dictinitoption)
  FROM pg_catalog.pg_ts_dict o JOIN space s ON s.oid = o.dictnamespace
 WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_ts_dict'::regclass AND m.objid = o.oid)
UNION ALL
SELECT 'text search parser', s.nspname, '', o.prsname, 'pg_catalog.pg_ts_parser'::regclass, o.oid, 0, true, NULL, NULL, NULL,
       jsonb_build_object('functions', concat_ws(' ', o.prsstart, o.prstoken, o.prsend, o.prsheadline, o.prslextype))
  FROM pg_catalog.pg_ts_parser o JOIN space s ON s.oid = o.prsnamespace
 WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_ts_parser'::regclass AND m.objid = o.oid)
UNION ALL
SELECT 'text search template', s.nspname, '', o.tmplname, 'pg_catalog.pg_ts_template'::regclass, o.oid, 0, true, NULL, NULL, NULL,
       jsonb_build_object('functions', concat_ws(' ', o.tmplinit, o.tmpllexize))
  FROM pg_catalog.pg_ts_template o JOIN space s ON s.oid = o.tmplnamespace
 WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_ts_template'::regclass AND m.objid = o.oid)
UNION ALL
SELECT 'extension', '', '', e.extname, 'pg_catalog.pg_extension'::regclass, e.oid, -1, true, NULL, NULL, NULL,
       jsonb_build_object('comment', (SELECT d.description FROM pg_catalog.pg_description d JOIN pg_catalog.pg_available_extensions a ON a.name = e.extname
                                       WHERE d.classoid = 'pg_catalog.pg_extension'::regclass AND d.objoid = e.oid AND d.description <> a.comment))
  FROM pg_catalog.pg_extension e
UNION ALL
SELECT 'language', '', '', l.lanname, 'pg_catalog.pg_language'::regclass, l.oid, 0, true, l.lanowner, 'l', l.lanacl,
       jsonb_build_object('trusted', l.lanpltrusted, 'handler', nullif(l.lanplcallfoid, 0)::regprocedure)
  FROM pg_catalog.pg_language l WHERE l.lanispl AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_language'::regclass AND m.objid = l.oid)
UNION ALL
SELECT 'access method', '', '', a.amname, 'pg_catalog.pg_am'::regclass, a.oid, 0, true, NULL, NULL, NULL, jsonb_build_object('handler', a.amhandler, 'type', a.amtype)
  FROM pg_catalog.pg_am a WHERE a.oid >= 16384 AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_am'::regclass AND m.objid = a.oid)
UNION ALL
SELECT 'foreign data wrapper', '', '', w.fdwname, 'pg_catalog.pg_foreign_data_wrapper'::regclass, w.oid, 0, true, w.fdwowner, 'F', w.fdwacl,
       jsonb_build_object('handler', nullif(w.fdwhandler, 0)::regprocedure, 'validator', nullif(w.fdwvalidator, 0)::regprocedure,
         'foreign options', (SELECT string_agg(o.text, ', ' ORDER BY o.text) FROM unnest(w.fdwoptions) o(text)))
  FROM pg_catalog.pg_foreign_data_wrapper w WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_foreign_data_wrapper'::regclass AND m.objid = w.oid)
UNION ALL
SELECT 'foreign server', '', '', s.srvname, 'pg_catalog.pg_foreign_server'::regclass, s.oid, 0, true, s.srvowner, 'S', s.srvacl,
       jsonb_build_object('type', s.srvtype, 'version', s.srvversion, 'wrapper', (SELECT w.fdwname FROM pg_catalog.pg_foreign_data_wrapper w WHERE w.oid = s.srvfdw),
         'foreign options', (SELECT string_agg(o.text, ', ' ORDER BY o.text) FROM unnest(s.srvoptions) o(text)))
  FROM pg_catalog.pg_foreign_server s WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_foreign_server'::regclass AND m.objid = s.oid)
UNION ALL
SELECT 'user mapping', '', '', CASE u.umuser WHEN 0 THEN 'PUBLIC' ELSE quote_ident(u.usename) END || ' on ' || quote_ident(u.srvname), 1418, u.umid, -1, true, NULL, NULL, NULL,
       jsonb_build_object('option names', (SELECT string_agg(split_part(o.text, '=', 1), ', ' ORDER BY 1) FROM unnest(u.umoptions) o(text)),
         'unseen', nullif(u.umoptions IS NULL AND NOT (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)
           AND NOT ((u.umuser = 0 OR u.usename = current_user) AND (SELECT pg_catalog.pg_has_role(v.srvowner, 'USAGE') FROM pg_catalog.pg_foreign_server v WHERE v.oid = u.srvid)), false))
  FROM pg_catalog.pg_user_mappings u WHERE NOT EXISTS (SELECT FROM member m WHERE m.objid = u.srvid AND m.classid = 'pg_catalog.pg_foreign_server'::regclass)
UNION ALL
SELECT 'event trigger', '', '', e.evtname, 'pg_catalog.pg_event_trigger'::regclass, e.oid, 0, true, e.evtowner, NULL, NULL,
       jsonb_build_object('event', e.evtevent, 'function', e.evtfoid::regprocedure, 'tags', nullif(array_to_string(e.evttags, ', '), ''), 'enabled', e.evtenabled)
  FROM pg_catalog.pg_event_trigger e WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_event_trigger'::regclass AND m.objid = e.oid)
UNION ALL
SELECT 'default privileges', coalesce(s.nspname, ''), '', concat_ws(' ', 'of', pg_catalog.pg_get_userbyid(d.defaclrole), 'for',
         CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions' WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas' ELSE 'large objects' END),
       'pg_catalog.pg_default_acl'::regclass, d.oid, 0, true, d.defaclrole, CASE d.defaclobjtype WHEN 'S' THEN 's'::"char" ELSE d.defaclobjtype END, d.defaclacl, '{}'
  FROM pg_catalog.pg_default_acl d LEFT JOIN pg_catalog.pg_namespace s ON s.oid = d.defaclnamespace
UNION ALL
SELECT 'large object', '', '', m.oid::text, 'pg_catalog.pg_largeobject'::regclass, m.oid, 0, true, m.lomowner, 'L', m.lomacl, '{}'
  FROM pg_catalog.pg_largeobject_metadata m
 WHERE m.lomacl IS NOT NULL OR m.lomowner <> (SELECT d.datdba FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
    OR EXISTS (SELECT FROM pg_catalog.pg_description d WHERE d.classoid = 'pg_catalog.pg_largeobject'::regclass AND d.objoid = m.oid)
UNION ALL
SELECT 'publication', '', '', p.pubname, 'pg_catalog.pg_publication'::regclass, p.oid, 0, true, NULL, NULL, NULL, '{}'
  FROM pg_catalog.pg_publication p WHERE p.pubname NOT LIKE 'towpath\_%%'
UNION ALL
SELECT 'subscription', '', '', s.subname, 'pg_catalog.pg_subscription'::regclass, 0, 0, true, NULL, NULL, NULL, '{}'  -- before 14 its oid is for superusers
  FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database b ON b.oid = s.subdbid WHERE b.datname = pg_catalog.current_database()
UNION ALL
SELECT 'security label', coalesce(CASE WHEN l.objtype <> 'database' THEN split_part(l.objname, '.', 1) END, ''), '',
       concat_ws(' ', l.provider, 'on', l.objtype, CASE WHEN l.objtype <> 'database' THEN l.objname END), NULL, l.objoid, -1, true, NULL, NULL, NULL,
       jsonb_build_object('provider', l.provider, 'object', concat_ws(' ', upper(l.objtype), CASE WHEN l.objtype <> 'database' THEN l.objname END), 'label', l.label)
  FROM pg_catalog.pg_seclabels l, pg_catalog.pg_database b
 WHERE b.datname = pg_catalog.current_database()
   AND (l.objtype NOT IN ('role', 'database', 'tablespace', 'subscription') OR (l.objtype = 'database' AND l.objoid = b.oid))
UNION ALL
SELECT 'database', '', '', '', 'pg_catalog.pg_database'::regclass, b.oid, 0, true, b.datdba, 'd', b.datacl,
       jsonb_build_object('comment', pg_catalog.shobj_description(b.oid, 'pg_database'), 'encoding', pg_catalog.pg_encoding_to_char(b.encoding),
         'connection limit', nullif(b.datconnlimit, -1), 'locale provider', CASE coalesce(to_jsonb(b) ->> 'datlocprovider', 'c') WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' ELSE 'builtin' END,
         -- libc's names are spelled in more than one way: C.UTF-8 is C.utf8
         'locale', coalesce(to_jsonb(b) ->> 'datlocale', to_jsonb(b) ->> 'daticulocale', regexp_replace(regexp_replace(b.datcollate::text, '^POSIX$', 'C'), '\.UTF-?8', '.utf8', 'i')),
         'character types', regexp_replace(regexp_replace(b.datctype::text, '^POSIX$', 'C'), '\.UTF-?8', '.utf8', 'i'), 'rules', to_jsonb(b) ->> 'daticurules')
  FROM pg_catalog.pg_database b WHERE b.datname = pg_catalog.current_database()
UNION ALL
SELECT 'database setting', '', '', split_part(v.text, '=', 1) || coalesce(' for ' || u.rolname, ''), 'pg_catalog.pg_db_role_setting'::regclass, s.setrole, -1, true, NULL, NULL, NULL,
       jsonb_build_object('setting', split_part(v.text, '=', 1), 'role', u.rolname, 'value', substr(v.text, strpos(v.text, '=') + 1))
  FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database b ON b.oid = s.setdatabase CROSS JOIN unnest(s.setconfig) v(text)
  LEFT JOIN pg_catalog.pg_roles u ON u.oid = s.setrole
 WHERE b.datname = pg_catalog.current_database()
)
SELECT t.kind, t.schema, t.tab, t.name, coalesce(t.class::oid::bigint, 0), t.oid::bigint, t.sub, t.usable,
       jsonb_strip_nulls(t.parts || jsonb_build_object(
         'comment', coalesce(d.description, t.parts ->> 'comment'), 'owner', CASE WHEN t.owner IS NOT NULL THEN pg_catalog.pg_get_userbyid(t.owner) END,
         'privileges', CASE WHEN t.code IS NOT NULL AND (t.acl IS NOT NULL OR t.code <> 'c') THEN
            (SELECT jsonb_agg(jsonb_build_array(CASE x.grantee WHEN 0 THEN '' ELSE pg_catalog.pg_get_userbyid(x.grantee)::text END, x.privilege_type, x.is_grantable,
                                                CASE WHEN x.grantor <> coalesce(t.owner, (SELECT o.relowner FROM pg_catalog.pg_class o WHERE o.oid = t.oid)) THEN pg_catalog.pg_get_userbyid(x.grantor)::text ELSE '' END)
                              ORDER BY pg_catalog.pg_get_userbyid(x.grantee), x.privilege_type, pg_catalog.pg_get_userbyid(x.grantor))
               FROM pg_catalog.aclexplode(coalesce(t.acl, pg_catalog.acldefault(t.code, t.owner))) x
                -- a sequence that a column owns is not compared by its owner, who is that of the table
               WHERE x.grantee IS DISTINCT FROM coalesce(t.owner, (SELECT o.relowner FROM pg_catalog.pg_class o WHERE o.oid = t.oid AND t.kind = 'sequence'))) END,
         -- an entry of one schema adds to the rights that are usual, and has none of the role's own
         'rights taken', CASE WHEN t.acl IS NOT NULL AND (t.kind <> 'default privileges' OR t.schema = '') THEN
            (SELECT string_agg(x.privilege_type, ', ' ORDER BY x.privilege_type)
               FROM (SELECT coalesce(t.owner, (SELECT o.relowner FROM pg_catalog.pg_class o WHERE o.oid = t.oid AND t.kind = 'sequence')) AS owner) s
              CROSS JOIN LATERAL pg_catalog.aclexplode(pg_catalog.acldefault(t.code, s.owner)) x
              WHERE x.grantee = s.owner
                AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(t.acl) y WHERE y.grantee = s.owner AND y.privilege_type = x.privilege_type)) END))::text
  FROM thing t LEFT JOIN pg_catalog.pg_description d ON d.classoid = t.class AND d.objoid = t.oid AND d.objsubid = t.sub
 ORDER BY 1, 2, 3, 4
