-- Generated columns of tables whose parent has them as ordinary ones, which servers before 16 allow: table oid, column, the
-- parent that it can leave for a moment ('' for a partition, and for a child of several).
-- :parameters none   :versions 9.3+   (before 12 there are none; read through row_to_json)
SELECT c.oid::bigint, a.attname::text,
       min(CASE WHEN (pg_catalog.row_to_json(c) ->> 'relispartition')::boolean OR (SELECT count(*) FROM pg_catalog.pg_inherits o WHERE o.inhrelid = c.oid) > 1
                THEN '' ELSE pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(r.relname) END)
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid
  JOIN pg_catalog.pg_class r ON r.oid = i.inhparent
  JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_catalog.pg_attribute p ON p.attrelid = r.oid AND p.attname = a.attname AND p.attnum > 0 AND NOT p.attisdropped
 WHERE c.relkind IN ('r', 'p') AND coalesce(pg_catalog.row_to_json(a) ->> 'attgenerated', '') <> ''
   AND coalesce(pg_catalog.row_to_json(p) ->> 'attgenerated', '') = ''
 GROUP BY 1, 2
 ORDER BY 1, 2
