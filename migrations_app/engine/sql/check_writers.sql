-- Sessions whose transaction has written: pid, user, age in seconds (NULL where the account may not see it).
-- The transaction-id locks are visible to everybody; pg_stat_activity hides others' times from ordinary accounts.
-- :parameters none   :versions 9.3+
SELECT DISTINCT l.pid, coalesce(a.usename::text, 'unknown'),
       extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::bigint AS age_seconds
  FROM pg_catalog.pg_locks l
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.pid IS NOT NULL
   AND l.pid <> pg_catalog.pg_backend_pid()
 ORDER BY 3 DESC NULLS LAST, 1
