-- Transactions that have written to tables and are still open, prepared ones too: id, pid, name of a prepared one, user,
-- age in seconds (NULL where the account may not see it). Locks are visible to everybody.
-- :parameters %(tables)s (oids)   :versions 9.3+
WITH RECURSIVE wanted(oid) AS (
  SELECT pg_catalog.unnest(%(tables)s::bigint[])
  UNION
  SELECT i.inhrelid::bigint FROM wanted JOIN pg_catalog.pg_inherits i ON i.inhparent = wanted.oid)
SELECT w.xid, w.pid, p.gid, coalesce(a.usename, p.owner)::text,
       extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(a.xact_start, p.prepared))::bigint
  FROM (SELECT min(own.transactionid::text::bigint) AS xid, own.pid
          FROM pg_catalog.pg_locks own
         WHERE own.locktype = 'transactionid' AND own.mode = 'ExclusiveLock' AND own.granted
           AND own.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
           AND EXISTS (SELECT FROM pg_catalog.pg_locks l JOIN wanted ON wanted.oid = l.relation::bigint
                        WHERE l.virtualtransaction = own.virtualtransaction AND l.granted
                          AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d
                                             WHERE d.datname = pg_catalog.current_database())
                          AND l.mode IN ('RowExclusiveLock', 'AccessExclusiveLock'))
         GROUP BY own.virtualtransaction, own.pid) w
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = w.pid
  LEFT JOIN pg_catalog.pg_prepared_xacts p ON w.pid IS NULL AND p.transaction::text::bigint = w.xid
 ORDER BY 5 DESC NULLS LAST, 1
