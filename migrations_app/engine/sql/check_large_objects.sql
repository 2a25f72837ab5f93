-- Number of large objects, and of those that the account may neither read as their owner nor by a grant.
-- :parameters none   :versions 9.3+
SELECT count(*),
       count(CASE WHEN NOT pg_catalog.pg_has_role(m.lomowner, 'USAGE')
                          AND NOT EXISTS (SELECT 1 FROM pg_catalog.aclexplode(m.lomacl) a
                                           WHERE a.privilege_type = 'SELECT'
                                             AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE'))) THEN 1 END)
  FROM pg_catalog.pg_largeobject_metadata m
