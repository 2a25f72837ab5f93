-- Tables, views and sequences that a dump describes by themselves: oid, schema, name, kind, the table that owns a sequence.
-- :parameters none   :versions 9.3+
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text,
       (SELECT d.refobjid::bigint FROM pg_catalog.pg_depend d
         WHERE c.relkind = 'S' AND d.classid = 1259 AND d.objid = c.oid AND d.refclassid = 1259 AND d.refobjsubid > 0
           AND d.deptype IN ('a', 'i') LIMIT 1)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.oid >= 16384 AND c.relpersistence <> 't'
   AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend m WHERE m.classid = 1259 AND m.objid = c.oid AND m.deptype = 'e')
 ORDER BY n.nspname, c.relname
