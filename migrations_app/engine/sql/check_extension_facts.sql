-- Installed extensions: name, version, schema, configuration tables (in words) that the user may have changed.
-- :parameters none   :versions 9.3+
SELECT e.extname::text, e.extversion::text, n.nspname::text,
       coalesce((SELECT array_agg(t.oid::pg_catalog.regclass::text ORDER BY 1)
                   FROM unnest(e.extconfig) k(oid) JOIN pg_catalog.pg_class t ON t.oid = k.oid AND t.relkind = 'r'), '{}')
  FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
 WHERE e.extname <> 'plpgsql'
 ORDER BY 1
