-- Texts as object_texts.sql tells them; there are no policies and no generated columns yet.
-- :parameters relations (oid[]), skip (oid[])   :versions 9.3 to 9.4   :needs a lock_timeout
WITH space AS (
  SELECT oid FROM pg_catalog.pg_namespace
   WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'towpath') AND nspname !~ '^pg_(temp|toast_temp)_'
), rel AS (
  SELECT c.oid, c.relkind FROM pg_catalog.pg_class c JOIN space s ON s.oid = c.relnamespace
   WHERE c.relpersistence <> 't' AND c.oid <> ALL (%(skip)s::oid[])
     AND (%(relations)s::oid[] IS NULL OR c.oid = ANY (%(relations)s::oid[]))
)
SELECT 'pg_catalog.pg_class'::regclass::oid::bigint, c.oid::bigint, 0, 'definition'::text, pg_catalog.pg_get_viewdef(c.oid)
  FROM rel c WHERE c.relkind IN ('v', 'm')
UNION ALL
SELECT 'pg_catalog.pg_rewrite'::regclass::oid::bigint, r.oid::bigint, 0, 'definition', pg_catalog.pg_get_ruledef(r.oid)
  FROM pg_catalog.pg_rewrite r JOIN rel c ON c.oid = r.ev_class WHERE r.rulename <> '_RETURN'
