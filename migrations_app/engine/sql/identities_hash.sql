-- One number for what the stream tells rows of all user tables by: replica identities, and the indexes that they stand on. Locks no table, sorts nothing.
-- :parameters none   :versions 9.4+
SELECT coalesce(sum(pg_catalog.hashtext(line)::bigint), 0)::text FROM (
  SELECT pg_catalog.concat_ws('/', c.oid, c.relreplident, x.indexrelid, x.indisprimary, x.indisreplident, x.indisvalid, x.indimmediate, x.indkey)
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_index x ON x.indrelid = c.oid AND (x.indisprimary OR x.indisreplident)
   WHERE c.relkind = 'r' AND c.relpersistence <> 't'
     AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'towpath') AND n.nspname !~ '^pg_(temp|toast_temp)_'
) t(line)
