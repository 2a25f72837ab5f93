-- Columns of tables in their order, with what a statement that makes or changes one needs. Locks no table.
-- filled = what rows hold that were there before the column was added with a default, as text (since 11).
-- Behind its name: whether the table is unlogged, name and columns of its primary key. A table without columns is one row of NULLs. after_dropped, before_dropped = a column that is gone stood directly before it, or behind it.
-- :parameters oids (oid[]; NULL: all), schema, name (NULL: all)   :versions 9.3 to 10   (newer columns are read through row_to_json so that older servers parse it)
SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relpersistence = 'u', coalesce(k.conname::text, ''),
       ARRAY(SELECT b.attname::text FROM generate_subscripts(k.conkey, 1) q JOIN pg_catalog.pg_attribute b ON b.attrelid = c.oid AND b.attnum = k.conkey[q] ORDER BY q),
       a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
       CASE WHEN a.atthasdef AND coalesce(w.newer ->> 'attgenerated', '') = '' THEN
         (SELECT pg_catalog.pg_get_expr(d.adbin, 0) FROM pg_catalog.pg_attrdef d WHERE d.adrelid = c.oid AND d.adnum = a.attnum) ELSE '' END,
       coalesce((SELECT pg_catalog.quote_ident(m.nspname) || '.' || pg_catalog.quote_ident(o.collname)
                   FROM pg_catalog.pg_collation o JOIN pg_catalog.pg_namespace m ON m.oid = o.collnamespace
                  WHERE o.oid = a.attcollation AND o.oid <> t.typcollation), ''),
       coalesce(w.newer ->> 'attidentity', ''), coalesce(w.newer ->> 'attgenerated', ''), NULL::text,
       EXISTS (SELECT 1 FROM pg_catalog.pg_attribute b WHERE b.attrelid = c.oid AND b.attnum = a.attnum - 1 AND b.attnum > 0 AND b.attisdropped),
       EXISTS (SELECT 1 FROM pg_catalog.pg_attribute b WHERE b.attrelid = c.oid AND b.attnum = a.attnum + 1 AND b.attisdropped),
       a.attnum::int
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  LEFT JOIN LATERAL (SELECT pg_catalog.row_to_json(a) AS newer OFFSET 0) w ON true
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'towpath') AND n.nspname !~ '^pg_(temp|toast_temp)_'
   AND (%(oids)s::oid[] IS NULL OR c.oid = ANY (%(oids)s::oid[]))
   AND (%(schema)s::text IS NULL OR (n.nspname = %(schema)s::text AND c.relname = %(name)s::text))
 ORDER BY c.oid, a.attnum
