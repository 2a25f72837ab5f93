-- Partitioned tables whose rows are spread by the hash of an enum, which depends on the numbers of its values: oid, name.
-- :parameters none   :versions 11+
SELECT c.oid::bigint, n.nspname || '.' || c.relname
  FROM pg_catalog.pg_partitioned_table p
  JOIN pg_catalog.pg_class c ON c.oid = p.partrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE p.partstrat = 'h'
   AND EXISTS (SELECT 1 FROM unnest(p.partclass::oid[]) u(class)
                 JOIN pg_catalog.pg_opclass o ON o.oid = u.class
                WHERE o.opcintype = 'pg_catalog.anyenum'::pg_catalog.regtype)
 ORDER BY 2
