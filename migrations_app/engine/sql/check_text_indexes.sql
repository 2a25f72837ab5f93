-- Index columns ordered by a collation: table oid, index in words and as SQL, provider and locale ('' = the database's
-- own).
-- :parameters none   :versions 9.3+
SELECT DISTINCT x.indrelid::bigint, n.nspname || '.' || i.relname, pg_catalog.format('%I.%I', n.nspname, i.relname),
       CASE WHEN o.collname = 'default' THEN '' ELSE coalesce(pg_catalog.row_to_json(o) ->> 'collprovider', 'c') END,
       CASE WHEN o.collname = 'default' THEN ''
            ELSE coalesce(nullif(coalesce(pg_catalog.row_to_json(o) ->> 'colllocale', pg_catalog.row_to_json(o) ->> 'colliculocale', o.collcollate::text), ''), 'und') END
  FROM pg_catalog.pg_index x
  JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = i.relnamespace
 CROSS JOIN LATERAL unnest(x.indcollation::pg_catalog.oid[]) k(coll)
  JOIN pg_catalog.pg_collation o ON o.oid = k.coll
 WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
   AND o.collname NOT IN ('C', 'POSIX', 'ucs_basic')
 ORDER BY 2
