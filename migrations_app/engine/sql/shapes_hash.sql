-- One number for the names and columns of all user tables, the schemas of their types, and what their columns are computed from or get by default: it changes when any of them does. Locks no table, sorts nothing.
-- :parameters none   :versions 9.3+
SELECT coalesce(sum(pg_catalog.hashtext(line)::bigint), 0)::text FROM (
  SELECT pg_catalog.concat_ws('/', c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, p.parent, a.attnum, a.attname, a.atttypid, s.nspname, a.atttypmod, a.attnotnull, a.atthasdef, d.adbin)
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN (SELECT i.inhrelid, min(i.inhparent::bigint) AS parent FROM pg_catalog.pg_inherits i GROUP BY 1) p ON p.inhrelid = c.oid
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_catalog.pg_namespace s ON s.oid = t.typnamespace AND s.nspname <> 'pg_catalog'
   WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
     AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'towpath') AND n.nspname !~ '^pg_(temp|toast_temp)_'
) t(line)
