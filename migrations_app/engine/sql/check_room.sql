-- How many more sessions this account can have on the server, about.
-- :parameters none   :versions 9.3+   (backend_type exists since 10: before, every row counts; walsenders have places of their own since 12)
SELECT least(
         pg_catalog.current_setting('max_connections')::int
           - pg_catalog.current_setting('superuser_reserved_connections')::int
           - (SELECT count(*) FROM pg_catalog.pg_stat_activity a
              WHERE coalesce(pg_catalog.row_to_json(a) ->> 'backend_type', 'client backend') = ANY (
                CASE WHEN pg_catalog.current_setting('server_version_num')::int < 120000
                     THEN '{client backend,walsender}'::text[] ELSE '{client backend}' END)),
         (SELECT CASE WHEN r.rolconnlimit < 0 THEN 100000 ELSE r.rolconnlimit END
                   - (SELECT count(*) FROM pg_catalog.pg_stat_activity a WHERE a.usesysid = r.oid)
            FROM pg_catalog.pg_roles r WHERE r.rolname = current_user))
