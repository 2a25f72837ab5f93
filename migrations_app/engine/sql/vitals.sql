-- What the server does for one session, and who keeps it waiting for a lock, but for our own sessions; `t` when those
-- are the only ones. No row when the session is gone.
-- Behind a pooler that gives processes numbers of its own, the busiest session with our name stands for it.
-- :parameters %(pid)s   :versions 9.6+   (9.6 does not tell a session that waits for us from one that works)
SELECT coalesce(a.state, ''), coalesce(a.wait_event_type, ''), coalesce(a.wait_event, ''), coalesce(a.query_start::text, ''),
       CASE WHEN a.wait_event_type = 'Lock' THEN
         (SELECT string_agg(pg_catalog.format('PID %%s, user %%s, %%s, %%s', b.pid, b.usename,
                            'transaction open for ' || extract(epoch FROM pg_catalog.clock_timestamp() - b.xact_start)::int || ' s',
                            pg_catalog.upper(pg_catalog.split_part(pg_catalog.btrim(b.query), ' ', 1))), '; ' ORDER BY b.pid)
            FROM pg_catalog.pg_stat_activity b WHERE b.pid = ANY (pg_catalog.pg_blocking_pids(a.pid))
             AND b.application_name <> a.application_name)
       END,
       CASE WHEN a.wait_event_type = 'Lock' THEN
         (SELECT CASE WHEN pg_catalog.bool_and(b.application_name IS NOT DISTINCT FROM a.application_name) THEN 't' END
            FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(a.pid)) p (pid)
            LEFT JOIN pg_catalog.pg_stat_activity b ON b.pid = p.pid)
       END
  FROM pg_catalog.pg_stat_activity a
 WHERE a.pid = %(pid)s
    OR (a.application_name = pg_catalog.current_setting('application_name') AND a.pid <> pg_catalog.pg_backend_pid())
 ORDER BY a.pid = %(pid)s DESC, a.state = 'active' DESC NULLS LAST
 LIMIT 1
