-- Triggers that fire in replica sessions: table oid, table, trigger.
-- :parameters none   :versions 9.3+
SELECT t.tgrelid::bigint, n.nspname || '.' || c.relname, t.tgname::text
  FROM pg_catalog.pg_trigger t
  JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT t.tgisinternal AND t.tgname NOT LIKE 'towpath\_%' AND t.tgenabled IN ('A', 'R')
 ORDER BY 2, 3
