-- Every relation that an operator may pick, one row each, with the parents of its foreign keys as a JSON list and the
-- extension that it belongs to.
-- Sizes are estimates from the last VACUUM or ANALYZE, so that no table is opened and a locked one cannot hold us up.
-- :parameters none   :versions 9.3 to 9.6
WITH parents AS (
  SELECT f.conrelid, pg_catalog.json_agg(pg_catalog.array_to_json(ARRAY[f.nspname, f.relname]) ORDER BY f.nspname, f.relname) AS list
    FROM (SELECT DISTINCT k.conrelid, n.nspname::text, p.relname::text FROM pg_catalog.pg_constraint k
    JOIN pg_catalog.pg_class p ON p.oid = k.confrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
   WHERE k.contype = 'f' AND k.confrelid <> k.conrelid) f
   GROUP BY f.conrelid
), members AS (
  SELECT d.objid, e.extname FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
   WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_extension'::regclass
     AND d.deptype = 'e'
)
SELECT n.nspname::text, c.relname::text, c.relkind::text, false AS is_partition, c.relpersistence::text,
       NULL::text AS parent_schema, NULL::text AS parent_name,
       (greatest(c.relpages, 0) + greatest(coalesce(t.relpages, 0), 0))::bigint
         * pg_catalog.current_setting('block_size')::bigint AS bytes,
       greatest(c.reltuples, 0)::bigint AS rows_estimate,
       pg_catalog.has_table_privilege(c.oid, 'SELECT') AS can_read,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS may_enter,
       coalesce(f.list, '[]'::json) AS fk_parents,
       c.oid::bigint, coalesce(m.extname::text, '') AS extension
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid
  LEFT JOIN parents f ON f.conrelid = c.oid
  LEFT JOIN members m ON m.objid = c.oid
 WHERE c.relkind IN ('r', 'v', 'm', 'f')
   AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'towpath')
   AND n.nspname !~ '^pg_(temp|toast_temp)_'
   AND (m.objid IS NULL OR c.relkind <> 'v')
 ORDER BY n.nspname, c.relname
