-- User mappings: server, role ('public' = everybody), and whether their options are hidden from this account.
-- :parameters none   :versions 9.3+
SELECT u.srvname::text, u.usename::text,
       u.umoptions IS NULL AND NOT (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)
         AND NOT ((u.umuser = 0 OR u.usename = current_user) AND pg_catalog.pg_has_role(s.srvowner, 'USAGE'))
  FROM pg_catalog.pg_user_mappings u JOIN pg_catalog.pg_foreign_server s ON s.oid = u.srvid
 ORDER BY 1, 2
