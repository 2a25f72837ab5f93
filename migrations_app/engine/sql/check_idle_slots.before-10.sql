-- Replication slots that nobody reads: name, bytes of WAL that they keep.
-- :parameters none   :versions 9.4 to 9.6
SELECT s.slot_name::text,
       greatest(0, pg_catalog.pg_xlog_location_diff(
         CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_xlog_receive_location() ELSE pg_catalog.pg_current_xlog_location() END,
         s.restart_lsn))::bigint
  FROM pg_catalog.pg_replication_slots s
 WHERE NOT s.active AND s.restart_lsn IS NOT NULL AND s.slot_name NOT LIKE 'towpath\_%'
 ORDER BY 2 DESC, 1
