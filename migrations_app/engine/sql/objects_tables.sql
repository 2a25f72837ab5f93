-- Tables and views as objects.sql tells them, with partition bounds and keys.
-- :parameters none   :versions 10+
WITH space AS (
  SELECT oid, nspname FROM pg_catalog.pg_namespace
   WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'towpath') AND nspname !~ '^pg_(temp|toast_temp)_'
), member AS (
  SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'
), rel AS (
  SELECT c.oid, c.relname, c.relkind, c.relpersistence, c.relpartbound, s.nspname FROM pg_catalog.pg_class c JOIN space s ON s.oid = c.relnamespace
   WHERE c.relpersistence <> 't' AND NOT EXISTS (
     SELECT 1 FROM member m WHERE m.classid = 'pg_catalog.pg_class'::regclass AND m.objid = c.oid)
)
SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' ELSE 'table' END AS kind,
       c.nspname::text AS schema, c.relname::text AS table_name, ''::text AS name,
       CASE WHEN c.relkind IN ('r', 'p') THEN c.relkind::text || c.relpersistence::text
            || coalesce(' of ' || (SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno)
                                     FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid), '')
            || coalesce(' ' || pg_catalog.pg_get_expr(c.relpartbound, 0), '')
            || coalesce(' by ' || pg_catalog.pg_get_partkeydef(c.oid), '') ELSE '' END AS definition,
       true AS usable
  FROM rel c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
 ORDER BY 1, 2, 3, 4
