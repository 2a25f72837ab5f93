-- Names of types, and of the live columns of a table with their places, as three arrays. Locks no table.
-- :parameters table (oid), types (oid[]), typmods (int[])   :versions 9.4+
SELECT ARRAY(SELECT pg_catalog.format_type(t, m)
               FROM unnest(%(types)s::oid[]) WITH ORDINALITY u(t, n) JOIN unnest(%(typmods)s::int[]) WITH ORDINALITY v(m, n) USING (n) ORDER BY n),
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = %(table)s::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
       ARRAY(SELECT a.attnum::int FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = %(table)s::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)
