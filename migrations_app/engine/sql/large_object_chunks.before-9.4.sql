-- A piece of each of some large objects: number, bytes. Short or empty at its end.
-- Each is opened for reading, moved to the place, read and closed: OFFSET 0 keeps that order and makes it happen once.
-- :parameters offset and length in bytes, numbers (array of oids)   :versions 9.3
SELECT r.o::bigint, r.data
  FROM (SELECT p.o, p.fd, pg_catalog.loread(p.fd, p.length) AS data
          FROM (SELECT f.o, f.fd, f.length
                  FROM (SELECT u.o, pg_catalog.lo_open(u.o, 262144) AS fd, a.place, a.length
                          FROM (SELECT %s::bigint AS place, %s::int AS length) a, unnest(%s::oid[]) u(o) OFFSET 0) f
                 WHERE pg_catalog.lo_lseek64(f.fd, f.place, 0) = f.place OFFSET 0) p OFFSET 0) r
 WHERE pg_catalog.lo_close(r.fd) = 0
 ORDER BY 1
