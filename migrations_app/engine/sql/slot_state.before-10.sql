-- Where the source stands, and what it still keeps for one slot. Always one row; the slot's columns are NULL without a slot.
-- The place up to which it was confirmed is known since 9.6; before, the oldest WAL that is kept stands for it.
-- :parameters %(slot)s   :versions 9.4 to 9.6   (columns of later versions are read through row_to_json)
SELECT pg_catalog.pg_current_xlog_insert_location()::text,
       extract(epoch FROM pg_catalog.clock_timestamp())::float8,
       s.slot_name, (pg_catalog.row_to_json(s) ->> 'active_pid')::int,
       coalesce(pg_catalog.row_to_json(s) ->> 'confirmed_flush_lsn', s.restart_lsn::text), s.restart_lsn::text, s.database,
       NULL::text, NULL::bigint, ''::text
  FROM (SELECT 1) AS always
  LEFT JOIN pg_catalog.pg_replication_slots s ON s.slot_name = %(slot)s
