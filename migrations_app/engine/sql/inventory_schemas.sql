-- Every user schema, also empty ones. Schemas that belong to an extension are left out.
-- :parameters none   :versions 10+
SELECT n.nspname::text, pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS may_enter
  FROM pg_catalog.pg_namespace n
 WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'towpath')
   AND n.nspname !~ '^pg_(temp|toast_temp)_'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
 ORDER BY n.nspname
