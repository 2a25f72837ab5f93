-- The stored columns of every user table: schema, table, names, types without modifiers. Locks no table.
-- :parameters none   :versions 9.3+   (attgenerated exists since 12: read through row_to_json so that older servers parse it)
SELECT n.nspname::text, c.relname::text,
       array_remove(array_agg(a.attname::text ORDER BY a.attnum), NULL),
       array_remove(array_agg(pg_catalog.format_type(a.atttypid, NULL) ORDER BY a.attnum), NULL)
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_attribute a
       ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND coalesce(pg_catalog.row_to_json(a) ->> 'attgenerated', '') <> 'v'
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'towpath')
 GROUP BY 1, 2
