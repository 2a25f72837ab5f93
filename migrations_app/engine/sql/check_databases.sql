-- Databases with encoding and locale. Provider and locale columns exist since 15/17: read through row_to_json.
-- :parameters none   :versions 9.3+
SELECT d.datname::text, pg_catalog.pg_encoding_to_char(d.encoding)::text, d.datcollate::text, d.datctype::text,
       coalesce(pg_catalog.row_to_json(d) ->> 'datlocprovider', 'c') AS provider,
       coalesce(pg_catalog.row_to_json(d) ->> 'datlocale', pg_catalog.row_to_json(d) ->> 'daticulocale', '') AS locale,
       coalesce(pg_catalog.row_to_json(d) ->> 'daticurules', '') AS rules,
       pg_catalog.has_database_privilege(d.oid, 'CREATE') AS may_create,
       pg_catalog.has_database_privilege(d.oid, 'CONNECT') AS may_connect, d.datallowconn AS open
  FROM pg_catalog.pg_database d
