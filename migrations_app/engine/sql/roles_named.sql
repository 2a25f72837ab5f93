-- The roles that the connected database and its objects name: owners, grantees, those of policies and default privileges, and
-- those that have settings in it.
-- :parameters none   :versions 9.3+
WITH here AS (
  SELECT b.oid, b.datdba FROM pg_catalog.pg_database b WHERE b.datname = pg_catalog.current_database()
)
SELECT DISTINCT r.rolname::text
  FROM here h
  JOIN pg_catalog.pg_shdepend d
    ON d.dbid = h.oid OR (d.dbid = 0 AND d.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND d.objid = h.oid)
  JOIN pg_catalog.pg_roles r ON r.oid = d.refobjid
 WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
UNION
SELECT pg_catalog.pg_get_userbyid(h.datdba)::text FROM here h
UNION
SELECT r.rolname::text
  FROM here h
  JOIN pg_catalog.pg_db_role_setting s ON s.setdatabase = h.oid
  JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
