-- Tables with row security that is on: schema, name, whether it binds their owners too. No server before 9.5 has such.
-- :parameters none   :versions 9.3+   (read through row_to_json)
SELECT n.nspname::text, c.relname::text, coalesce((pg_catalog.row_to_json(c) ->> 'relforcerowsecurity')::bool, false)
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND pg_catalog.row_to_json(c) ->> 'relrowsecurity' = 'true'
 ORDER BY 1, 2
