-- What tables keep outside their rows: table oid, bytes.
-- :parameters none   :versions 9.3+
SELECT c.oid::bigint, pg_catalog.pg_relation_size(c.reltoastrelid)
  FROM pg_catalog.pg_class c
 WHERE c.relkind = 'r' AND c.reltoastrelid <> 0 AND pg_catalog.pg_relation_size(c.reltoastrelid) > 0
