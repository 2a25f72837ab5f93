-- Schemas with their owners, and whether everybody may enter them.
-- :parameters none   :versions 9.3+
SELECT n.nspname::text, pg_catalog.pg_get_userbyid(n.nspowner)::text,
       EXISTS (SELECT 1 FROM pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) a
                WHERE a.grantee = 0 AND a.privilege_type = 'USAGE') AS everybody
  FROM pg_catalog.pg_namespace n
 WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
 ORDER BY 1
