-- Security labels on objects of the connected database: provider, number.
-- :parameters none   :versions 9.3+
SELECT s.provider::text, count(*) FROM pg_catalog.pg_seclabel s GROUP BY 1 ORDER BY 1
