-- Number of large objects, and of those that the account may neither read as their owner nor by a grant.
-- :parameters none   :versions 10+
SELECT count(*),
       count(*) FILTER (WHERE NOT pg_catalog.pg_has_role(m.lomowner, 'USAGE')
                          AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(m.lomacl) a
                                           WHERE a.privilege_type = 'SELECT'
                                             AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE'))))
  FROM pg_catalog.pg_largeobject_metadata m
