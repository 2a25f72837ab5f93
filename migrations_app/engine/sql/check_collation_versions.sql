-- Versions of the collations that this server's libraries bring: provider, locale, version now, version when recorded.
-- :parameters none   :versions 10+   (locale columns differ by version: read through row_to_json; ICU's root is '', later 'und')
SELECT o.collprovider::text,
       coalesce(nullif(coalesce(pg_catalog.row_to_json(o) ->> 'colllocale', pg_catalog.row_to_json(o) ->> 'colliculocale', o.collcollate::text), ''), 'und'),
       max(pg_catalog.pg_collation_actual_version(o.oid)), min(o.collversion)
  FROM pg_catalog.pg_collation o
 WHERE pg_catalog.pg_collation_actual_version(o.oid) IS NOT NULL
 GROUP BY 1, 2
