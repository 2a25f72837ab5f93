-- Tables with the hidden column oid: table oid. Servers from 12 on have none (read through to_jsonb).
-- :parameters none   :versions 10+
SELECT c.oid::bigint FROM pg_catalog.pg_class c
 WHERE c.relkind = 'r' AND c.oid >= 16384 AND (pg_catalog.to_jsonb(c) ->> 'relhasoids')::boolean
