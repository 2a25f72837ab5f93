-- Every user table with its identity: ordinary tables, partitions and partitioned roots. No system or extension objects.
-- :parameters none   :versions 10+
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text, c.relispartition,
       (SELECT i.inhparent::bigint FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid AND c.relispartition) AS parent_oid,
       c.relpersistence::text, c.relreplident::text, coalesce(am.amname = 'heap', true) AS is_heap,
       CASE WHEN c.relkind = 'p' THEN 0 ELSE coalesce(pg_catalog.pg_table_size(c.oid), 0) END AS bytes,
       coalesce(pg_catalog.pg_relation_size(c.reltoastrelid), 0) AS outside_bytes,
       greatest(c.reltuples, 0)::bigint AS rows_estimate,
       pg_catalog.pg_get_userbyid(c.relowner) AS owner,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AS can_read,
       pg_catalog.pg_has_role(c.relowner, 'USAGE') AS is_owner,
       c.relrowsecurity,
       EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN') AS has_rules,
       (SELECT array_agg(a.attname::text ORDER BY k.ordinality)
          FROM pg_catalog.pg_index x, unnest(x.indkey::int2[]) WITH ORDINALITY k(attnum, ordinality), pg_catalog.pg_attribute a
         WHERE x.indrelid = c.oid AND x.indisprimary AND a.attrelid = c.oid AND a.attnum = k.attnum
           AND k.ordinality <= coalesce((to_jsonb(x) ->> 'indnkeyatts')::int, x.indnatts)) AS primary_key,
       (SELECT array_agg(a.attname::text ORDER BY k.ordinality)
          FROM (SELECT x.indkey, coalesce((to_jsonb(x) ->> 'indnkeyatts')::int, x.indnatts) AS indnkeyatts FROM pg_catalog.pg_index x
                 WHERE x.indrelid = c.oid AND x.indisunique AND NOT x.indisprimary AND x.indisvalid AND x.indimmediate
                   AND x.indpred IS NULL AND x.indexprs IS NULL
                   AND NOT EXISTS (SELECT FROM unnest(x.indkey::int2[]) WITH ORDINALITY q(attnum, n), pg_catalog.pg_attribute b
                                    WHERE q.n <= coalesce((to_jsonb(x) ->> 'indnkeyatts')::int, x.indnatts) AND b.attrelid = c.oid AND b.attnum = q.attnum
                                      AND (NOT b.attnotnull  -- or NULL may be in rows of before (18)
                                           OR EXISTS (SELECT FROM pg_catalog.pg_constraint o WHERE o.conrelid = b.attrelid AND o.contype = 'n'
                                                         AND NOT o.convalidated AND b.attnum = o.conkey[1])))
                 ORDER BY x.indnatts, x.indexrelid LIMIT 1) best,
               unnest(best.indkey::int2[]) WITH ORDINALITY k(attnum, ordinality), pg_catalog.pg_attribute a
         WHERE a.attrelid = c.oid AND a.attnum = k.attnum AND k.ordinality <= best.indnkeyatts) AS unique_key,
       (SELECT array_agg(a.attname::text ORDER BY k.ordinality)
          FROM pg_catalog.pg_index x, unnest(x.indkey::int2[]) WITH ORDINALITY k(attnum, ordinality), pg_catalog.pg_attribute a
         WHERE x.indrelid = c.oid AND x.indisreplident AND a.attrelid = c.oid AND a.attnum = k.attnum
           AND k.ordinality <= coalesce((to_jsonb(x) ->> 'indnkeyatts')::int, x.indnatts)) AS identity_index_key,
       c.relfilenode::bigint AS file, c.relnatts::int AS width,
       (SELECT coalesce(sum(pg_catalog.hashtext(pg_catalog.concat_ws('/', g.attnum, d.adbin))::bigint), 0)
          FROM pg_catalog.pg_attribute g JOIN pg_catalog.pg_attrdef d ON d.adrelid = g.attrelid AND d.adnum = g.attnum
         WHERE g.attrelid = c.oid AND NOT g.attisdropped AND coalesce(pg_catalog.row_to_json(g) ->> 'attgenerated', '') <> '')::bigint & 4294967295 AS computed
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam AND c.relkind = 'r'
 WHERE c.relkind IN ('r', 'p')
   AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'towpath')
   AND n.nspname !~ '^pg_(temp|toast_temp)_'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY n.nspname, c.relname
