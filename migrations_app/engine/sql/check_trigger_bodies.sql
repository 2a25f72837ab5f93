-- Triggers of users with the text of their function: table oid, table, trigger, text.
-- :parameters none   :versions 9.3+
SELECT t.tgrelid::bigint, n.nspname || '.' || c.relname, t.tgname::text, p.prosrc
  FROM pg_catalog.pg_trigger t
  JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
 WHERE NOT t.tgisinternal AND t.tgname NOT LIKE 'towpath\_%'
 ORDER BY 2, 3
