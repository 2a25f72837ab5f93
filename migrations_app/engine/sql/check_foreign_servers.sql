-- Foreign servers: name, wrapper, number of user mappings.
-- :parameters none   :versions 9.3+
SELECT s.srvname::text, w.fdwname::text,
       (SELECT count(*) FROM pg_catalog.pg_user_mappings u WHERE u.srvid = s.oid)
  FROM pg_catalog.pg_foreign_server s JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw
 ORDER BY 1
