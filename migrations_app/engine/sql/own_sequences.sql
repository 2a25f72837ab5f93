-- Sequences of a table's own columns: schema, name, column, whether they are of an identity, and their options as a statement writes them.
-- :parameters oid   :versions 10+
SELECT n.nspname::text, s.relname::text, a.attname::text, d.deptype = 'i',
       pg_catalog.format('AS %%s INCREMENT %%s MINVALUE %%s MAXVALUE %%s START %%s CACHE %%s %%s', pg_catalog.format_type(q.seqtypid, NULL), q.seqincrement,
                         q.seqmin, q.seqmax, q.seqstart, q.seqcache, CASE WHEN q.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END)
  FROM pg_catalog.pg_depend d
  JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
  JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
  JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
 WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = %(oid)s AND d.deptype IN ('a', 'i')
 ORDER BY 1, 2
