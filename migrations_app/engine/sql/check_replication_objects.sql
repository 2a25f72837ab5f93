-- What replicates from or into the connected database and is not ours: kind, name.
-- :parameters none   :versions 10+
SELECT 'publication'::text, p.pubname::text FROM pg_catalog.pg_publication p WHERE p.pubname NOT LIKE 'towpath\_%'
UNION ALL
SELECT 'subscription', s.subname::text
  FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
 WHERE d.datname = pg_catalog.current_database()
UNION ALL
SELECT 'extension', e.extname::text FROM pg_catalog.pg_extension e WHERE e.extname IN ('pglogical', 'bdr', 'spock')
 ORDER BY 1, 2
