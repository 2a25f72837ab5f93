-- Tables that have to exist before some tables: parents by inheritance, and those whose row types their columns have. By
-- oid, without the tables that were asked for.
-- :parameters tables (array of oids)   :versions 9.3+
WITH RECURSIVE needed(oid) AS (
  SELECT unnest(%(tables)s::oid[])
  UNION
  SELECT x.oid
    FROM needed n
   CROSS JOIN LATERAL (
      SELECT i.inhparent AS oid FROM pg_catalog.pg_inherits i WHERE i.inhrelid = n.oid
      UNION ALL
      SELECT greatest(t.typrelid, e.typrelid, b.typrelid)
        FROM pg_catalog.pg_attribute a
        JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem
        LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
       WHERE a.attrelid = n.oid AND a.attnum > 0 AND NOT a.attisdropped
   ) x
   WHERE x.oid >= 16384
)
SELECT n.oid::bigint FROM needed n JOIN pg_catalog.pg_class c ON c.oid = n.oid
 WHERE c.relkind IN ('r', 'p') AND n.oid <> ALL (%(tables)s::oid[])
