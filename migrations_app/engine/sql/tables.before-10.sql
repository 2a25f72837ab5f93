-- Every user table with its identity. There are no partitions yet. No system or extension objects.
-- :parameters none   :versions 9.3 to 9.6   (relreplident exists since 9.4, relrowsecurity since 9.5: read through row_to_json)
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text, false AS is_partition, NULL::bigint AS parent_oid,
       c.relpersistence::text, coalesce(pg_catalog.row_to_json(c) ->> 'relreplident', 'd') AS relreplident,
       true AS is_heap,
       coalesce(pg_catalog.pg_table_size(c.oid), 0) AS bytes,
       coalesce(pg_catalog.pg_relation_size(c.reltoastrelid), 0) AS outside_bytes,
       greatest(c.reltuples, 0)::bigint AS rows_estimate,
       pg_catalog.pg_get_userbyid(c.relowner) AS owner,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AS can_read,
       pg_catalog.pg_has_role(c.relowner, 'USAGE') AS is_owner,
       coalesce((pg_catalog.row_to_json(c) ->> 'relrowsecurity')::boolean, false) AS row_security,
       EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN') AS has_rules,
       (SELECT array_agg(a.attname::text ORDER BY k)
          FROM pg_catalog.pg_index x, pg_catalog.generate_subscripts(x.indkey, 1) k, pg_catalog.pg_attribute a
         WHERE x.indrelid = c.oid AND x.indisprimary AND a.attrelid = c.oid AND a.attnum = x.indkey[k]) AS primary_key,
       (SELECT array_agg(a.attname::text ORDER BY k)
          FROM (SELECT x.indkey FROM pg_catalog.pg_index x
                 WHERE x.indrelid = c.oid AND x.indisunique AND NOT x.indisprimary AND x.indisvalid AND x.indimmediate
                   AND x.indpred IS NULL AND x.indexprs IS NULL
                   AND NOT EXISTS (SELECT 1 FROM pg_catalog.generate_subscripts(x.indkey, 1) q, pg_catalog.pg_attribute b
                                    WHERE b.attrelid = c.oid AND b.attnum = x.indkey[q] AND NOT b.attnotnull)
                 ORDER BY x.indnatts, x.indexrelid LIMIT 1) best,
               pg_catalog.generate_subscripts(best.indkey, 1) k, pg_catalog.pg_attribute a
         WHERE a.attrelid = c.oid AND a.attnum = best.indkey[k]) AS unique_key,
       (SELECT array_agg(a.attname::text ORDER BY k)
          FROM pg_catalog.pg_index x, pg_catalog.generate_subscripts(x.indkey, 1) k, pg_catalog.pg_attribute a
         WHERE x.indrelid = c.oid AND (pg_catalog.row_to_json(x) ->> 'indisreplident')::boolean AND a.attrelid = c.oid AND a.attnum = x.indkey[k]) AS identity_index_key,
       c.relfilenode::bigint AS file, c.relnatts::int AS width, 0::bigint AS computed
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r'
   AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'towpath')
   AND n.nspname !~ '^pg_(temp|toast_temp)_'
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY n.nspname, c.relname
