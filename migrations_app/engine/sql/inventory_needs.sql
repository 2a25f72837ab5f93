-- What each table cannot be without, besides the parents of its foreign keys, as far as the catalog knows it: types of
-- its columns; sequences and functions of its defaults, checks and triggers. One row for a table, one JSON list.
-- Members of an extension appear as the extension. The text of a function is opaque: what it uses is not known.
-- :parameters none   :versions 9.3+
WITH used AS (
  SELECT a.attrelid AS rel, 'pg_catalog.pg_type'::regclass AS classid,
         CASE WHEN t.typelem <> 0 AND t.typlen = -1 THEN t.typelem ELSE t.oid END AS objid
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
   WHERE a.attnum > 0 AND NOT a.attisdropped AND t.oid >= 16384
  UNION
  SELECT b.adrelid, d.refclassid, d.refobjid
    FROM pg_catalog.pg_attrdef b
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.objid = b.oid
   WHERE d.refobjid >= 16384 AND d.refobjid <> b.adrelid
  UNION
  SELECT k.conrelid, d.refclassid, d.refobjid
    FROM pg_catalog.pg_constraint k
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_constraint'::regclass AND d.objid = k.oid
   WHERE k.contype = 'c' AND k.conrelid <> 0 AND d.refobjid >= 16384 AND d.refobjid <> k.conrelid
  UNION
  SELECT g.tgrelid, 'pg_catalog.pg_proc'::regclass, g.tgfoid
    FROM pg_catalog.pg_trigger g WHERE NOT g.tgisinternal AND g.tgname NOT LIKE 'towpath\_%' AND g.tgfoid >= 16384
  UNION
  SELECT d.refobjid, d.classid, d.objid
    FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind = 'S'
   WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
     AND d.deptype IN ('a', 'i')
), named AS (
  SELECT u.rel, 'sequence' AS kind, n.nspname::text AS space, c.relname::text AS name
    FROM used u JOIN pg_catalog.pg_class c ON c.oid = u.objid AND c.relkind = 'S'
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE u.classid = 'pg_catalog.pg_class'::regclass
  UNION
  SELECT u.rel, CASE WHEN e.oid IS NULL THEN 'function' ELSE 'extension' END,
         CASE WHEN e.oid IS NULL THEN n.nspname::text ELSE '' END,
         coalesce(e.extname::text, p.proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')')
    FROM used u JOIN pg_catalog.pg_proc p ON p.oid = u.objid
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    LEFT JOIN pg_catalog.pg_depend d ON d.classid = u.classid AND d.objid = p.oid AND d.deptype = 'e'
    LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
   WHERE u.classid = 'pg_catalog.pg_proc'::regclass
  UNION
  SELECT u.rel, CASE WHEN e.oid IS NULL THEN 'type' ELSE 'extension' END,
         CASE WHEN e.oid IS NULL THEN n.nspname::text ELSE '' END, coalesce(e.extname::text, t.typname::text)
    FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.objid AND t.oid >= 16384
    JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
    LEFT JOIN pg_catalog.pg_depend d ON d.classid = u.classid AND d.objid = t.oid AND d.deptype = 'e'
    LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
   WHERE u.classid = 'pg_catalog.pg_type'::regclass
)
SELECT rel::bigint, pg_catalog.json_agg(pg_catalog.array_to_json(ARRAY[kind, space, name]::text[]) ORDER BY kind, space, name)
  FROM named GROUP BY rel
