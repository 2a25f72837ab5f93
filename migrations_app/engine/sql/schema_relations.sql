-- What a schema holds: relations that have a name of their own there, by kind and oid. Nothing where it is not there.
-- :parameters schema   :versions 9.3+
SELECT c.relname, c.relkind::text, c.oid::bigint
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
