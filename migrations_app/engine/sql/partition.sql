-- One partition with rows of its own: schema and name of what it is a partition of, its bounds, and whether it was made as a partition.
-- One that was attached may hold rows that the stream never told; whoever creates a partition writes all of its entries in one transaction.
-- :parameters oid   :versions 10+   (no row: it is none)
SELECT n.nspname::text, p.relname::text, pg_catalog.pg_get_expr(c.relpartbound, c.oid), i.xmin = a.xmin
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = -1
  JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
  JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
 WHERE c.oid = %(oid)s AND c.relispartition AND c.relkind = 'r'
