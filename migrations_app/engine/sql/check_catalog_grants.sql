-- System objects whose privileges differ from those that the server came with: kind, name.
-- :parameters none   :versions 9.6+
SELECT 'relation'::text, c.oid::pg_catalog.regclass::text
  FROM pg_catalog.pg_class c
  LEFT JOIN pg_catalog.pg_init_privs i ON i.objoid = c.oid AND i.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND i.objsubid = 0
 CROSS JOIN LATERAL (SELECT coalesce(i.initprivs, pg_catalog.acldefault('r', c.relowner)) AS first) a
 WHERE c.oid < 16384 AND c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace AND c.relkind IN ('r', 'v', 'm') AND c.relacl IS NOT NULL AND NOT (c.relacl @> a.first AND a.first @> c.relacl)
UNION ALL
SELECT 'function', p.oid::pg_catalog.regprocedure::text
  FROM pg_catalog.pg_proc p
  LEFT JOIN pg_catalog.pg_init_privs i ON i.objoid = p.oid AND i.classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND i.objsubid = 0
 CROSS JOIN LATERAL (SELECT coalesce(i.initprivs, pg_catalog.acldefault('f', p.proowner)) AS first) a
 WHERE p.oid < 16384 AND p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND p.proacl IS NOT NULL AND NOT (p.proacl @> a.first AND a.first @> p.proacl)
 ORDER BY 1, 2
