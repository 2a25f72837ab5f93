-- Tables and sequences that extensions keep what users tell them in: extension, schema, name, kind, condition on the
-- rows that users have made.
-- :parameters none   :versions 10+
SELECT e.extname::text, n.nspname::text, c.relname::text, c.relkind::text, coalesce(k.condition, '')
  FROM pg_catalog.pg_extension e, unnest(e.extconfig, e.extcondition) WITH ORDINALITY k(oid, condition, place)
  JOIN pg_catalog.pg_class c ON c.oid = k.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'S') ORDER BY e.extname, k.place
