-- Roles that privileges of user objects name: role, what names it ('grant'), how many times. There are no policies yet.
-- :parameters none   :versions 9.3 to 9.4
WITH spaces AS (
  SELECT n.oid, n.nspacl FROM pg_catalog.pg_namespace n
   WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(temp|toast_temp)_'
), named AS (
  SELECT 'grant'::text AS what, a.grantee AS role
    FROM pg_catalog.pg_class c JOIN spaces s ON s.oid = c.relnamespace, pg_catalog.aclexplode(c.relacl) a WHERE a.grantee <> c.relowner
  UNION ALL
  SELECT 'grant', a.grantee FROM pg_catalog.pg_proc p JOIN spaces s ON s.oid = p.pronamespace, pg_catalog.aclexplode(p.proacl) a WHERE a.grantee <> p.proowner
  UNION ALL
  SELECT 'grant', a.grantee FROM pg_catalog.pg_attribute t JOIN pg_catalog.pg_class c ON c.oid = t.attrelid JOIN spaces s ON s.oid = c.relnamespace,
         pg_catalog.aclexplode(t.attacl) a WHERE a.grantee <> c.relowner AND NOT t.attisdropped
  UNION ALL
  SELECT 'grant', a.grantee FROM pg_catalog.pg_type t JOIN spaces s ON s.oid = t.typnamespace, pg_catalog.aclexplode(t.typacl) a WHERE a.grantee <> t.typowner
  UNION ALL
  SELECT 'grant', a.grantee FROM pg_catalog.pg_language l, pg_catalog.aclexplode(l.lanacl) a WHERE a.grantee <> l.lanowner
  UNION ALL
  SELECT 'grant', a.grantee FROM pg_catalog.pg_foreign_data_wrapper w, pg_catalog.aclexplode(w.fdwacl) a WHERE a.grantee <> w.fdwowner
  UNION ALL
  SELECT 'grant', a.grantee FROM pg_catalog.pg_foreign_server f, pg_catalog.aclexplode(f.srvacl) a WHERE a.grantee <> f.srvowner
  UNION ALL
  SELECT 'grant', a.grantee FROM pg_catalog.pg_largeobject_metadata m, pg_catalog.aclexplode(m.lomacl) a WHERE a.grantee <> m.lomowner
  UNION ALL
  SELECT 'grant', a.grantee FROM spaces s, pg_catalog.aclexplode(s.nspacl) a
  UNION ALL
  SELECT 'grant', a.grantee FROM pg_catalog.pg_default_acl d, pg_catalog.aclexplode(d.defaclacl) a
  UNION ALL
  SELECT 'grant', d.defaclrole FROM pg_catalog.pg_default_acl d
)
SELECT r.rolname::text, n.what, count(*)
  FROM named n JOIN pg_catalog.pg_roles r ON r.oid = n.role
 GROUP BY 1, 2 ORDER BY 2, 1
