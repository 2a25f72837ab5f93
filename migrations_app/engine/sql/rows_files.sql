-- Files of the rows of tables: the oid that was asked for, the highest attnum ever of that, whether it is partitioned, what it computes;
-- oid and file of the table itself, or of each of the lowest partitions below it. Locks no table.
-- :parameters oids (oid[])   :versions 9.3+
WITH RECURSIVE down(top, relid) AS (
  SELECT t.oid, t.oid FROM unnest(%(oids)s::oid[]) t(oid)
  UNION ALL
  SELECT down.top, i.inhrelid
    FROM down JOIN pg_catalog.pg_class p ON p.oid = down.relid AND p.relkind = 'p'
    JOIN pg_catalog.pg_inherits i ON i.inhparent = down.relid
)
SELECT t.oid::bigint, t.relnatts::int, t.relkind = 'p',
       (SELECT coalesce(sum(pg_catalog.hashtext(pg_catalog.concat_ws('/', g.attnum, d.adbin))::bigint), 0)
          FROM pg_catalog.pg_attribute g JOIN pg_catalog.pg_attrdef d ON d.adrelid = g.attrelid AND d.adnum = g.attnum
         WHERE g.attrelid = t.oid AND NOT g.attisdropped AND coalesce(pg_catalog.row_to_json(g) ->> 'attgenerated', '') <> '')::bigint & 4294967295,
       c.oid::bigint, c.relfilenode::bigint
  FROM down
  JOIN pg_catalog.pg_class t ON t.oid = down.top
  JOIN pg_catalog.pg_class c ON c.oid = down.relid AND c.relkind = 'r'
