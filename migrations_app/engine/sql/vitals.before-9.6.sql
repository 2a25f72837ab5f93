-- What the server does for one session, and who keeps it waiting for a lock, but for our own sessions; `t` when those
-- are the only ones. No row when the session is gone. These versions tell of locks only what is waited for: whoever
-- holds the same one is named, and a session that waits for us is not told from one that works.
-- :parameters %(pid)s   :versions 9.3 to 9.5
WITH holder AS (
  SELECT DISTINCT w.pid AS waits, h.pid FROM pg_catalog.pg_locks w
    JOIN pg_catalog.pg_locks h ON h.granted AND h.pid <> w.pid AND h.locktype = w.locktype
     AND (h.database, h.relation, h.page, h.tuple, h.virtualxid, h.transactionid, h.classid, h.objid, h.objsubid)
         IS NOT DISTINCT FROM
         (w.database, w.relation, w.page, w.tuple, w.virtualxid, w.transactionid, w.classid, w.objid, w.objsubid)
   WHERE NOT w.granted
)
SELECT coalesce(a.state, ''), CASE WHEN a.waiting THEN 'Lock' ELSE '' END, '', coalesce(a.query_start::text, ''),
       CASE WHEN a.waiting THEN
         (SELECT string_agg(pg_catalog.format('PID %%s, user %%s, %%s, %%s', b.pid, b.usename,
                            'transaction open for ' || extract(epoch FROM pg_catalog.clock_timestamp() - b.xact_start)::int || ' s',
                            pg_catalog.upper(pg_catalog.split_part(pg_catalog.btrim(b.query), ' ', 1))), '; ' ORDER BY b.pid)
            FROM pg_catalog.pg_stat_activity b WHERE b.pid IN (SELECT h.pid FROM holder h WHERE h.waits = a.pid)
             AND b.application_name <> a.application_name)
       END,
       CASE WHEN a.waiting THEN
         (SELECT CASE WHEN pg_catalog.bool_and(b.application_name IS NOT DISTINCT FROM a.application_name) THEN 't' END
            FROM holder h LEFT JOIN pg_catalog.pg_stat_activity b ON b.pid = h.pid WHERE h.waits = a.pid)
       END
  FROM pg_catalog.pg_stat_activity a
 WHERE a.pid = %(pid)s
    OR (a.application_name = pg_catalog.current_setting('application_name') AND a.pid <> pg_catalog.pg_backend_pid())
 ORDER BY a.pid = %(pid)s DESC, a.state = 'active' DESC NULLS LAST
 LIMIT 1
