-- Partitioned tables and all that lies below them: the table's schema and name, a leaf's schema, name and kind.
-- :parameters none   :versions 10+
WITH RECURSIVE below AS (
  SELECT c.oid AS root, i.inhrelid AS child FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_inherits i ON i.inhparent = c.oid WHERE c.relkind = 'p'
  UNION ALL
  SELECT b.root, i.inhrelid FROM below b JOIN pg_catalog.pg_inherits i ON i.inhparent = b.child
)
SELECT rn.nspname::text, r.relname::text, n.nspname::text, c.relname::text, c.relkind::text
  FROM below b
  JOIN pg_catalog.pg_class r ON r.oid = b.root
  JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
  JOIN pg_catalog.pg_class c ON c.oid = b.child
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind <> 'p'
 ORDER BY 1, 2, 3, 4
