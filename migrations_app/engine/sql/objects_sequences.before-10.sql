-- Sequences as objects.sql tells them, without their cache, which only the sequence itself knows.
-- :parameters none   :versions 9.3 to 9.6
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
       'bigint start ' || q.start_value || ' increment ' || q.increment || ' min ' || q.minimum_value || ' max ' || q.maximum_value
       || CASE WHEN q.cycle_option THEN ' cycle' ELSE '' END, true
  FROM rel c
 CROSS JOIN LATERAL pg_catalog.pg_sequence_parameters(
         CASE WHEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT') THEN c.oid END) q
  LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
       AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjsubid > 0
  LEFT JOIN rel o ON o.oid = d.refobjid
 WHERE c.relkind = 'S'
 ORDER BY 1, 2, 3, 4
