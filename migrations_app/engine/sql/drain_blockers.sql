-- Who keeps sessions of this task waiting for a lock, but for our own sessions; NULL when nobody does.
-- :parameters none   :versions 9.6+
SELECT string_agg(DISTINCT pg_catalog.format('PID %s, user %s, transaction open for %s s', b.pid, b.usename,
                  extract(epoch FROM pg_catalog.clock_timestamp() - b.xact_start)::int), '; ')
  FROM pg_catalog.pg_stat_activity a
  JOIN pg_catalog.pg_stat_activity b ON b.pid = ANY (pg_catalog.pg_blocking_pids(a.pid))
 WHERE a.application_name = pg_catalog.current_setting('application_name') AND a.wait_event_type = 'Lock'
   AND b.application_name <> a.application_name
