-- A piece of each of some large objects: number, bytes. Short or empty at its end.
-- :parameters offset and length in bytes, numbers (array of oids)   :versions 9.4+
SELECT o::bigint, pg_catalog.lo_get(o, %s, %s) AS data FROM unnest(%s::oid[]) o ORDER BY 1
