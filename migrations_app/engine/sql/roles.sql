-- Every role of the server but those that it came with: name, attributes, settings, comment.
-- :parameters none   :versions 9.3+   (what 9.3 and 9.4 lack is read through row_to_json)
SELECT r.rolname::text, r.rolsuper, r.rolcanlogin, r.rolinherit, r.rolcreatedb, r.rolcreaterole, r.rolreplication,
       coalesce((pg_catalog.row_to_json(r) ->> 'rolbypassrls')::bool, false),
       r.rolconnlimit, r.rolvaliduntil::text, pg_catalog.shobj_description(r.oid, 'pg_authid'),
       (SELECT s.setconfig FROM pg_catalog.pg_db_role_setting s WHERE s.setrole = r.oid AND s.setdatabase = 0)
  FROM pg_catalog.pg_roles r WHERE r.oid >= 16384 OR r.rolname = 'postgres' ORDER BY 1
