-- Tables and sequences that extensions keep what users tell them in: extension, schema, name, kind, condition on the
-- rows that users have made.
-- :parameters none   :versions 9.3+
SELECT e.extname::text, n.nspname::text, c.relname::text, c.relkind::text, coalesce(e.extcondition[k.place], '')
  FROM pg_catalog.pg_extension e CROSS JOIN LATERAL pg_catalog.generate_subscripts(e.extconfig, 1) k(place)
  JOIN pg_catalog.pg_class c ON c.oid = e.extconfig[k.place]
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'S') ORDER BY e.extname, k.place
