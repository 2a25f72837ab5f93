-- Ordinary tables with a name or an oid: oid, schema, name, replica identity, its columns, all columns as lists of name,
-- type as a decoding plugin writes it (without modifiers), oid and modifier of the type.
-- :parameters %(schema)s, %(name)s, %(oid)s   :versions 9.4+
SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relreplident::text,
       coalesce((SELECT array_agg(a.attname::text)
                   FROM pg_catalog.pg_index x JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = ANY (x.indkey::int2[])
                  WHERE x.indrelid = c.oid AND x.indisvalid
                    AND CASE c.relreplident WHEN 'd' THEN x.indisprimary WHEN 'i' THEN x.indisreplident ELSE false END), '{}'),
       coalesce((SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
                          a.attname::text, pg_catalog.format_type(a.atttypid, NULL), a.atttypid::bigint, a.atttypmod) ORDER BY a.attnum)
                   FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]')
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND ((n.nspname = %(schema)s AND c.relname = %(name)s) OR c.oid = %(oid)s)
