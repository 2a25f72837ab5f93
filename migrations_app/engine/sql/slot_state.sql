-- Where the source stands, and what it still keeps for one slot. Always one row; the slot's columns are NULL without a slot.
-- :parameters %(slot)s   :versions 10+   (columns of later versions are read through row_to_json)
SELECT pg_catalog.pg_current_wal_insert_lsn()::text,
       extract(epoch FROM pg_catalog.clock_timestamp())::float8,
       s.slot_name, s.active_pid, s.confirmed_flush_lsn::text, s.restart_lsn::text, s.database,
       pg_catalog.row_to_json(s) ->> 'wal_status', (pg_catalog.row_to_json(s) ->> 'safe_wal_size')::bigint,
       coalesce(pg_catalog.row_to_json(s) ->> 'invalidation_reason', '')
  FROM (SELECT 1) AS always
  LEFT JOIN pg_catalog.pg_replication_slots s ON s.slot_name = %(slot)s
