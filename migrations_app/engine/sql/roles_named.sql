-- The roles that objects of the connected database name: owners, grantees, those of policies and default privileges.
-- :parameters none   :versions 10+
SELECT DISTINCT r.rolname::text
  FROM pg_catalog.pg_shdepend d JOIN pg_catalog.pg_roles r ON r.oid = d.refobjid
 WHERE d.refclassid = 'pg_catalog.pg_authid'::regclass
   AND d.dbid = (SELECT b.oid FROM pg_catalog.pg_database b WHERE b.datname = pg_catalog.current_database())
UNION
SELECT pg_catalog.pg_get_userbyid(b.datdba)::text FROM pg_catalog.pg_database b WHERE b.datname = pg_catalog.current_database()
