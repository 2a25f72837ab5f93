-- Domains and arrays of domains, each with the type that it is made of: a domain's base, an array's elements.
-- :parameters none   :versions 9.3+
SELECT pg_catalog.format_type(t.oid, NULL),
       pg_catalog.format_type(CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.typelem END, NULL), t.typtype = 'd'
  FROM pg_catalog.pg_type t
 WHERE t.typtype = 'd'
    OR (t.typsend = 'pg_catalog.array_send'::regproc
        AND EXISTS (SELECT 1 FROM pg_catalog.pg_type e WHERE e.oid = t.typelem AND e.typtype = 'd'))
