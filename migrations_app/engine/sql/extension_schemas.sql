-- The schema in which each extension is, or the one in which alone it could be installed.
-- :parameters none   :versions 10+
SELECT e.extname::text, n.nspname::text FROM pg_catalog.pg_extension e
  JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
UNION ALL
SELECT v.name::text, v.schema::text FROM pg_catalog.pg_available_extension_versions v
  JOIN pg_catalog.pg_available_extensions a ON a.name = v.name AND a.default_version = v.version
 WHERE v.schema IS NOT NULL AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_extension e WHERE e.extname = v.name)
