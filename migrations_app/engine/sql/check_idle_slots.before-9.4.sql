-- Nothing: before 9.4 there are no replication slots.
-- :parameters none   :versions 9.3
SELECT ''::text, 0::bigint WHERE false
