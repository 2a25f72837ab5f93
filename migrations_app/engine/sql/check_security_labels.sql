-- Security labels on the connected database and on its objects: provider, number.
-- :parameters none   :versions 9.3+
SELECT s.provider::text, count(*)
  FROM (SELECT provider FROM pg_catalog.pg_seclabel
        UNION ALL
        SELECT h.provider FROM pg_catalog.pg_shseclabel h JOIN pg_catalog.pg_database b ON b.oid = h.objoid
         WHERE h.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass AND b.datname = pg_catalog.current_database()) s
 GROUP BY 1 ORDER BY 1
