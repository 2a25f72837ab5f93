-- Every user schema, also empty ones, and the schemas of temporary tables that hold some (temporary > 0).
-- Schemas that belong to an extension are left out.
-- :parameters none   :versions 9.3+
SELECT n.nspname::text, pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS may_enter, coalesce(t.temporary, 0)
  FROM pg_catalog.pg_namespace n
  LEFT JOIN (SELECT c.relnamespace, count(*) AS temporary FROM pg_catalog.pg_class c
              WHERE c.relpersistence = 't' AND c.relkind IN ('r', 'p') GROUP BY 1) t ON t.relnamespace = n.oid
 WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'towpath')
   AND (n.nspname !~ '^pg_(temp|toast_temp)_' OR t.temporary > 0)
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
 ORDER BY n.nspname
