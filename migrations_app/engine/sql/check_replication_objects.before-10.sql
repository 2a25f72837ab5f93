-- What replicates from or into the connected database and is not ours: kind, name. There are no publications yet.
-- :parameters none   :versions 9.3 to 9.6
SELECT 'extension'::text, e.extname::text FROM pg_catalog.pg_extension e WHERE e.extname IN ('pglogical', 'bdr', 'spock')
 ORDER BY 1, 2
