-- Objects that must stand on both sides: kind, schema, table ('' when it belongs to none), name, definition, and whether
-- it is in use (a valid index, a validated constraint). Definitions are texts that can be compared between servers; ''
-- where the text may differ between versions although the meaning is the same (views, rules).
-- No function here locks a table: somebody may hold one for long.
-- Tables, sequences and row security are in files of their own, because servers keep them in other places by version.
-- :parameters none   :versions 9.3+   (newer columns are read through row_to_json so that older servers parse it)
WITH space AS (
  SELECT oid, nspname FROM pg_catalog.pg_namespace
   WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'towpath') AND nspname !~ '^pg_(temp|toast_temp)_'
), member AS (
  SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'
), rel AS (
  SELECT c.oid, c.relname, c.relkind, c.relpersistence, s.nspname FROM pg_catalog.pg_class c JOIN space s ON s.oid = c.relnamespace
   WHERE c.relpersistence <> 't' AND NOT EXISTS (
     SELECT 1 FROM member m WHERE m.classid = 'pg_catalog.pg_class'::regclass AND m.objid = c.oid)
)
SELECT 'column', c.nspname, c.relname, a.attname,
       pg_catalog.format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
       || CASE WHEN a.atthasdef THEN ' default' ELSE '' END || CASE WHEN pg_catalog.row_to_json(a) ->> 'attidentity' <> '' THEN ' identity' ELSE '' END
       || CASE coalesce(pg_catalog.row_to_json(a) ->> 'attgenerated', '') WHEN '' THEN '' ELSE ' generated ' || (pg_catalog.row_to_json(a) ->> 'attgenerated') END
       || coalesce((SELECT ' collate ' || o.collname FROM pg_catalog.pg_collation o
                     WHERE o.oid = a.attcollation AND o.collname <> 'default'), ''), true
  FROM rel c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
UNION ALL
SELECT 'index', t.nspname, t.relname, i.relname, pg_catalog.pg_get_indexdef(x.indexrelid), x.indisvalid
  FROM pg_catalog.pg_index x JOIN rel t ON t.oid = x.indrelid JOIN rel i ON i.oid = x.indexrelid
 WHERE t.relkind IN ('r', 'p', 'm')
UNION ALL
SELECT 'constraint', t.nspname, t.relname, o.conname, pg_catalog.pg_get_constraintdef(o.oid), o.convalidated
  FROM pg_catalog.pg_constraint o JOIN rel t ON t.oid = o.conrelid
 WHERE o.contype IN ('p', 'u', 'f', 'c', 'x') AND coalesce(pg_catalog.row_to_json(o) ->> 'conparentid', '0') = '0'
UNION ALL
SELECT 'trigger', t.nspname, t.relname, g.tgname, pg_catalog.pg_get_triggerdef(g.oid), true
  FROM pg_catalog.pg_trigger g JOIN rel t ON t.oid = g.tgrelid WHERE NOT g.tgisinternal AND g.tgname NOT LIKE 'towpath\_%'
UNION ALL
SELECT 'rule', t.nspname, t.relname, r.rulename, '', true
  FROM pg_catalog.pg_rewrite r JOIN rel t ON t.oid = r.ev_class WHERE r.rulename <> '_RETURN'
UNION ALL
SELECT 'function', s.nspname, '', pg_catalog.quote_ident(p.proname) || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')', p.prosrc, true
  FROM pg_catalog.pg_proc p JOIN space s ON s.oid = p.pronamespace
 WHERE NOT EXISTS (SELECT 1 FROM member m WHERE m.classid = 'pg_catalog.pg_proc'::regclass AND m.objid = p.oid)
UNION ALL
SELECT CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'c' THEN 'composite type' ELSE 'range type' END,
       s.nspname, '', t.typname,
       CASE t.typtype
         WHEN 'e' THEN (SELECT string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid)
         WHEN 'd' THEN pg_catalog.format_type(t.typbasetype, t.typtypmod) || CASE WHEN t.typnotnull THEN ' not null' ELSE '' END
              || coalesce((SELECT ' ' || string_agg(o.conname, ', ' ORDER BY o.conname) FROM pg_catalog.pg_constraint o
                            WHERE o.contypid = t.oid AND o.contype = 'c'), '')
         WHEN 'c' THEN (SELECT string_agg(pg_catalog.quote_ident(a.attname) || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
                          FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)
         ELSE '' END, true
  FROM pg_catalog.pg_type t JOIN space s ON s.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
 WHERE (t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND c.relkind = 'c'))
   AND NOT EXISTS (SELECT 1 FROM member m WHERE m.classid = 'pg_catalog.pg_type'::regclass AND m.objid = t.oid)
ORDER BY 1, 2, 3, 4
