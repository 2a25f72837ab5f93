-- Checks of tables and domains as they are now, by their former oids, or where one was made anew, by their former names: former oid,
-- table or domain, name, definition.
-- :parameters oids (oid[]); schemas, owners, names (text[], of the same length)   :versions 9.3+   :needs an empty search_path
WITH former AS (
  SELECT unnest(%(oids)s::oid[]) AS oid, unnest(%(schemas)s::text[]) AS schema, unnest(%(owners)s::text[]) AS owner,
         unnest(%(names)s::text[]) AS name
), owner AS (
  SELECT c.oid AS relation, 0::oid AS type, c.relname AS name, c.relnamespace AS space FROM pg_catalog.pg_class c
  UNION ALL
  SELECT 0::oid, t.oid, t.typname, t.typnamespace FROM pg_catalog.pg_type t WHERE t.typtype = 'd'
), present AS (
  SELECT k.oid, n.nspname AS schema, o.name AS owner, k.conname AS name
    FROM pg_catalog.pg_constraint k
    JOIN owner o ON o.relation = k.conrelid AND o.type = k.contypid
    JOIN pg_catalog.pg_namespace n ON n.oid = o.space
   WHERE k.contype = 'c'
)
SELECT f.oid::bigint, p.owner::text, p.name::text, pg_catalog.pg_get_constraintdef(p.oid)
  FROM former f JOIN present p ON p.oid = f.oid
UNION ALL
SELECT f.oid::bigint, p.owner::text, p.name::text, pg_catalog.pg_get_constraintdef(p.oid)
  FROM former f JOIN present p ON p.schema::text = f.schema AND p.owner::text = f.owner AND p.name::text = f.name
 WHERE f.oid NOT IN (SELECT q.oid FROM present q)
