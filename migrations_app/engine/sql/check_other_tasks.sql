-- Sessions of migration tasks, besides checks: application name, database.
-- :parameters none   :versions 10+
SELECT DISTINCT a.application_name::text, a.datname::text
  FROM pg_catalog.pg_stat_activity a
 WHERE a.application_name ~ '^towpath:[0-9a-f]+:[0-9]+' AND a.datname IS NOT NULL
 ORDER BY 1, 2
