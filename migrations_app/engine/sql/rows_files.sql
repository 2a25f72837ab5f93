-- Files of the rows of tables: the oid that was asked for, the highest attnum ever of that, whether it is partitioned;
-- oid and file of the table itself, or of each of the lowest partitions below it. Locks no table.
-- :parameters oids (oid[])   :versions 9.3+
WITH RECURSIVE down(top, relid) AS (
  SELECT t.oid, t.oid FROM unnest(%(oids)s::oid[]) t(oid)
  UNION ALL
  SELECT down.top, i.inhrelid
    FROM down JOIN pg_catalog.pg_class p ON p.oid = down.relid AND p.relkind = 'p'
    JOIN pg_catalog.pg_inherits i ON i.inhparent = down.relid
)
SELECT t.oid::bigint, t.relnatts::int, t.relkind = 'p', c.oid::bigint, c.relfilenode::bigint
  FROM down
  JOIN pg_catalog.pg_class t ON t.oid = down.top
  JOIN pg_catalog.pg_class c ON c.oid = down.relid AND c.relkind = 'r'
