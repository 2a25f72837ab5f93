-- Collations other than the default that columns of user tables name, and those that users made: name, provider,
-- whether a user made it, locale of the C library. A user-made one comes with the schema; the server must know its locale.
-- :parameters none   :versions 9.3+   (IN, not EXISTS: a server with ICU has 800 collations, and looks only once so)
SELECT o.collname::text, coalesce(pg_catalog.row_to_json(o) ->> 'collprovider', 'c'), o.oid >= 16384, coalesce(o.collcollate::text, '')
  FROM pg_catalog.pg_collation o
 WHERE o.collname NOT IN ('default', 'C', 'POSIX', 'ucs_basic')
   AND (o.oid IN (SELECT a.attcollation FROM pg_catalog.pg_attribute a
                    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
                    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                   WHERE a.attcollation <> 0 AND a.attnum > 0 AND NOT a.attisdropped
                     AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
                     AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast'))
        OR o.oid >= 16384 AND o.collnamespace <> (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pg_catalog')
           AND o.oid NOT IN (SELECT d.objid FROM pg_catalog.pg_depend d
                              WHERE d.classid = 'pg_catalog.pg_collation'::pg_catalog.regclass AND d.deptype = 'e'))
 ORDER BY 1
