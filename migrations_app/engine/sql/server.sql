-- One row of facts about the server and this session: database, user, postmaster start, standby, superuser, encoding, locale.
-- :parameters none   :versions 9.3+
SELECT current_database(), current_user::text, pg_catalog.pg_postmaster_start_time()::text, pg_catalog.pg_is_in_recovery(),
       (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user),
       pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate::text
  FROM pg_catalog.pg_database d WHERE d.datname = current_database()
