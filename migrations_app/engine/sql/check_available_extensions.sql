-- Extensions that the server offers, and whether an ordinary account with CREATE on the database may create them.
-- :parameters none   :versions 10+   (trusted exists since 13: read through row_to_json)
SELECT v.name::text,
       bool_or(NOT v.superuser OR coalesce((pg_catalog.row_to_json(v) ->> 'trusted')::boolean, false)) AS anybody
  FROM pg_catalog.pg_available_extension_versions v
 GROUP BY 1
