-- One number for the files that hold the rows of all user tables, and how many columns those ever had: it changes when a table is emptied or written
-- anew, or has got a column, also one that is gone again. Locks no table, sorts nothing.
-- :parameters none   :versions 9.3+
SELECT coalesce(sum(pg_catalog.hashtext(pg_catalog.concat_ws('/', c.oid, c.relfilenode, c.relnatts))::bigint), 0)::text
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'towpath') AND n.nspname !~ '^pg_(temp|toast_temp)_'
