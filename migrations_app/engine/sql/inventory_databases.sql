-- Databases an operator may want to migrate: no templates, no databases that cloud vendors keep for themselves.
-- The size is NULL where the account may not connect.
-- :parameters none   :versions 9.3+
SELECT d.datname::text,
       CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT') AND d.datallowconn
            THEN pg_catalog.pg_database_size(d.oid) ELSE 0 END AS bytes,
       d.datallowconn, pg_catalog.has_database_privilege(d.oid, 'CONNECT') AS may_connect,
       pg_catalog.pg_encoding_to_char(d.encoding) AS encoding
  FROM pg_catalog.pg_database d
 WHERE NOT d.datistemplate
   AND d.datname NOT IN ('rdsadmin', 'cloudsqladmin', 'azure_maintenance', 'azure_sys', 'alloydbadmin', 'alloydbmetadata')
 ORDER BY d.datname
