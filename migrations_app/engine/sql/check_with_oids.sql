-- Tables with the hidden column oid: table oid. Servers from 12 on have none (read through row_to_json).
-- :parameters none   :versions 9.3+
SELECT c.oid::bigint FROM pg_catalog.pg_class c
 WHERE c.relkind = 'r' AND c.oid >= 16384 AND (pg_catalog.row_to_json(c) ->> 'relhasoids')::boolean
