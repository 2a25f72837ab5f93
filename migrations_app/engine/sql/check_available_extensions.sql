-- Extensions that the server offers, and whether an ordinary account with CREATE on the database may create them.
-- :parameters none   :versions 10+   (trusted exists since 13: read through to_jsonb)
SELECT v.name::text,
       bool_or(NOT v.superuser OR coalesce((pg_catalog.to_jsonb(v) ->> 'trusted')::boolean, false)) AS anybody
  FROM pg_catalog.pg_available_extension_versions v
 GROUP BY 1
