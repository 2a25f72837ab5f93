-- Collations other than the default that columns of user tables name: name, provider, whether a user made it.
-- A user-made one comes with the schema; the server must only know its provider.
-- :parameters none   :versions 10+
SELECT DISTINCT o.collname::text, o.collprovider::text, o.oid >= 16384
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_collation o ON o.oid = a.attcollation
 WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
   AND o.collname NOT IN ('default', 'C', 'POSIX', 'ucs_basic')
 ORDER BY 1
