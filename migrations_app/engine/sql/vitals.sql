-- What the server does for one session, and who keeps it waiting for a lock. No row when the session is gone.
-- Behind a pooler that gives processes numbers of its own, the busiest session with our name stands for it.
-- :parameters %(pid)s   :versions 10+
SELECT coalesce(a.state, ''), coalesce(a.wait_event_type, ''), coalesce(a.wait_event, ''), coalesce(a.query_start::text, ''),
       CASE WHEN a.wait_event_type = 'Lock' THEN
         (SELECT string_agg(pg_catalog.format('PID %%s, user %%s, %%s, %%s', b.pid, b.usename,
                            'transaction open for ' || extract(epoch FROM pg_catalog.clock_timestamp() - b.xact_start)::int || ' s',
                            pg_catalog.upper(pg_catalog.split_part(pg_catalog.btrim(b.query), ' ', 1))), '; ' ORDER BY b.pid)
            FROM pg_catalog.pg_stat_activity b WHERE b.pid = ANY (pg_catalog.pg_blocking_pids(a.pid)))
       END
  FROM pg_catalog.pg_stat_activity a
 WHERE a.pid = %(pid)s
    OR (a.application_name = pg_catalog.current_setting('application_name') AND a.pid <> pg_catalog.pg_backend_pid())
 ORDER BY a.pid = %(pid)s DESC, a.state = 'active' DESC NULLS LAST
 LIMIT 1
