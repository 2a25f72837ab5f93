-- What tells a publication from another one, with its options, and its entries: one row for each, or one without.
-- An entry that was taken out and put back has another oid.
-- :parameters %(name)s   :versions 10+
SELECT pg_catalog.row_to_json(p)::text || p.oid, r.prrelid::bigint, r.oid::bigint
  FROM pg_catalog.pg_publication p LEFT JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
 WHERE p.pubname = %(name)s
