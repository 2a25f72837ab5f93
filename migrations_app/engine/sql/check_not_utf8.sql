-- Names and texts of a database without an encoding that are more than ASCII, as hexadecimal bytes: what it is, of which
-- object, the oid of the relation or schema and the number of the column where there is one, and the bytes to judge.
-- What expressions hold is written out; a server keeps them as trees.
-- :parameters none   :versions 9.3+
WITH space AS (
  SELECT n.oid, n.nspname::text FROM pg_catalog.pg_namespace n
   WHERE n.nspname !~ '^pg_(toast|temp|catalog)' AND n.nspname <> 'information_schema'
), rel AS (
  SELECT c.oid, s.nspname, c.relname::text, c.relkind FROM pg_catalog.pg_class c JOIN space s ON s.oid = c.relnamespace
), texts(kind, label, oid, sub, said) AS (
SELECT 'schema', s.nspname, s.oid, 0, s.nspname FROM space s
UNION ALL
SELECT CASE r.relkind WHEN 'i' THEN 'index' WHEN 'I' THEN 'index' WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view'
                      WHEN 'm' THEN 'materialized view' WHEN 'c' THEN 'type' ELSE 'table' END,
       r.nspname || '.' || r.relname, r.oid, 0, r.relname FROM rel r
UNION ALL
SELECT 'column', r.nspname || '.' || r.relname || '.' || a.attname, r.oid, a.attnum, a.attname::text
  FROM rel r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE r.relkind NOT IN ('i', 'I')
UNION ALL
SELECT 'default', r.nspname || '.' || r.relname || '.' || a.attname, r.oid, a.attnum, pg_catalog.pg_get_expr(d.adbin, d.adrelid)
  FROM rel r JOIN pg_catalog.pg_attrdef d ON d.adrelid = r.oid
  JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
UNION ALL
SELECT 'query', r.nspname || '.' || r.relname, r.oid, 0, pg_catalog.pg_get_viewdef(r.oid) FROM rel r WHERE r.relkind IN ('v', 'm')
UNION ALL
SELECT 'expressions', r.nspname || '.' || r.relname, r.oid, 0, pg_catalog.pg_get_indexdef(r.oid)
  FROM rel r JOIN pg_catalog.pg_index i ON i.indexrelid = r.oid WHERE i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
UNION ALL
SELECT 'constraint', s.nspname || '.' || o.conname, NULL::oid, 0, o.conname || pg_catalog.pg_get_constraintdef(o.oid)
  FROM pg_catalog.pg_constraint o JOIN space s ON s.oid = o.connamespace
 WHERE o.contype NOT IN ('p', 'u', 'x') -- these have the names of their indexes
UNION ALL
SELECT 'trigger', r.nspname || '.' || r.relname || '.' || t.tgname, NULL::oid, 0, pg_catalog.pg_get_triggerdef(t.oid)
  FROM pg_catalog.pg_trigger t JOIN rel r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal
UNION ALL
SELECT 'rule', r.nspname || '.' || r.relname || '.' || w.rulename, NULL::oid, 0, pg_catalog.pg_get_ruledef(w.oid)
  FROM pg_catalog.pg_rewrite w JOIN rel r ON r.oid = w.ev_class WHERE w.rulename <> '_RETURN'
UNION ALL
SELECT 'type', s.nspname || '.' || t.typname, NULL::oid, 0, concat_ws(' ', t.typname, t.typdefault)
  FROM pg_catalog.pg_type t JOIN space s ON s.oid = t.typnamespace
 WHERE t.typrelid = 0 AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_type e WHERE e.typarray = t.oid)
UNION ALL
SELECT 'label of type', s.nspname || '.' || t.typname || '.' || e.enumlabel, NULL::oid, 0, e.enumlabel::text
  FROM pg_catalog.pg_enum e JOIN pg_catalog.pg_type t ON t.oid = e.enumtypid JOIN space s ON s.oid = t.typnamespace
UNION ALL
SELECT 'function', s.nspname || '.' || p.proname, NULL::oid, 0,
       concat_ws(' ', p.proname, p.prosrc, p.proargnames, pg_catalog.pg_get_expr(p.proargdefaults, 0), p.proconfig)
  FROM pg_catalog.pg_proc p JOIN space s ON s.oid = p.pronamespace
UNION ALL
SELECT 'comment on', pg_catalog.pg_describe_object(d.classoid, d.objoid, d.objsubid), NULL::oid, 0, d.description
  FROM pg_catalog.pg_description d
 WHERE d.objoid >= 16384 -- before 9.6 some of the server's own cannot be described
)
SELECT t.kind, pg_catalog.encode(pg_catalog.convert_to(t.label, 'SQL_ASCII'), 'hex'), t.oid::bigint, t.sub,
       pg_catalog.encode(pg_catalog.convert_to(t.said, 'SQL_ASCII'), 'hex')
  FROM texts t WHERE t.said ~ '[^[:ascii:]]' ORDER BY 1, 2
