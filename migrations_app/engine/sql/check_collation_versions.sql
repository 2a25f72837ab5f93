-- Versions of the collations that this server's libraries bring: provider, locale, version now, version when recorded,
-- and what records anew those that were recorded in another one.
-- :parameters none   :versions 10+   (locale columns differ by version: read through row_to_json; ICU's root is '', later 'und')
SELECT o.collprovider::text,
       coalesce(nullif(coalesce(pg_catalog.row_to_json(o) ->> 'colllocale', pg_catalog.row_to_json(o) ->> 'colliculocale', o.collcollate::text), ''), 'und'),
       max(v.now), min(o.collversion),
       coalesce(string_agg(pg_catalog.format('ALTER COLLATION %I.%I REFRESH VERSION;', n.nspname, o.collname), E'\n'
                           ORDER BY n.nspname, o.collname) FILTER (WHERE o.collversion <> v.now), '')
  FROM pg_catalog.pg_collation o
  JOIN pg_catalog.pg_namespace n ON n.oid = o.collnamespace
 CROSS JOIN LATERAL pg_catalog.pg_collation_actual_version(o.oid) v(now)
 WHERE v.now IS NOT NULL
 GROUP BY 1, 2
