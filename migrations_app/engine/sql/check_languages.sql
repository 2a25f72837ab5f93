-- Languages of functions besides the built-in ones: name, whether an extension brings it, trusted, functions in it.
-- :parameters none   :versions 9.3+
SELECT l.lanname::text,
       EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                WHERE d.classid = 'pg_catalog.pg_language'::pg_catalog.regclass AND d.objid = l.oid AND d.deptype = 'e'),
       l.lanpltrusted,
       (SELECT count(*) FROM pg_catalog.pg_proc p WHERE p.prolang = l.oid AND p.oid >= 16384)
  FROM pg_catalog.pg_language l
 WHERE l.lanname NOT IN ('internal', 'c', 'sql', 'plpgsql')
 ORDER BY 1
