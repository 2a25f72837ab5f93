-- What a schema holds: relations that have a name of their own there, by kind and oid, and types. Nothing where it is not there.
-- :parameters schema   :versions 9.3+
SELECT c.relname, c.relkind::text, c.oid::bigint
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
UNION ALL
SELECT t.typname, 'type', t.oid::bigint
  FROM pg_catalog.pg_type t
  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
 WHERE n.nspname = %(schema)s AND t.typtype IN ('b', 'c', 'd', 'e', 'r') AND coalesce(c.relkind = 'c', true)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.typarray = t.oid)
