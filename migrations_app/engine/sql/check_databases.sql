-- Databases with encoding and locale. Provider and locale columns exist since 15/17: read through to_jsonb.
-- :parameters none   :versions 10+
SELECT d.datname::text, pg_catalog.pg_encoding_to_char(d.encoding)::text, d.datcollate::text, d.datctype::text,
       coalesce(pg_catalog.to_jsonb(d) ->> 'datlocprovider', 'c') AS provider,
       coalesce(pg_catalog.to_jsonb(d) ->> 'datlocale', pg_catalog.to_jsonb(d) ->> 'daticulocale', '') AS locale,
       pg_catalog.has_database_privilege(d.oid, 'CREATE') AS may_create,
       pg_catalog.has_database_privilege(d.oid, 'CONNECT') AND d.datallowconn AS may_connect
  FROM pg_catalog.pg_database d
