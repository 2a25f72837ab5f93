-- Sequences as objects.sql tells them; those of a column belong to its table.
-- :parameters none   :versions 10+
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
SELECT 'sequence', coalesce(o.nspname, c.nspname), coalesce(o.relname, ''), c.relname,
       q.seqtypid::regtype::text || ' start ' || q.seqstart || ' increment ' || q.seqincrement || ' min ' || q.seqmin || ' max ' || q.seqmax
       || CASE WHEN q.seqcycle THEN ' cycle' ELSE '' END || ' cache ' || q.seqcache, true
  FROM pg_catalog.pg_sequence q JOIN rel c ON c.oid = q.seqrelid
  LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
       AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjsubid > 0
  LEFT JOIN rel o ON o.oid = d.refobjid
 ORDER BY 1, 2, 3, 4
