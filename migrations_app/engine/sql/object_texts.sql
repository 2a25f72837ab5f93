-- Texts that a server can only write while it locks the tables that they are about (ACCESS SHARE): catalog, oid, column,
-- part, text. `relations` names the tables, views or others whose texts are wanted; NULL = all.
-- :parameters relations (oid[]), skip (oid[])   :versions 9.5+   :needs a lock_timeout
WITH space AS (
  SELECT oid FROM pg_catalog.pg_namespace
   WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'towpath') AND nspname !~ '^pg_(temp|toast_temp)_'
), rel AS (
  SELECT c.oid, c.relkind FROM pg_catalog.pg_class c JOIN space s ON s.oid = c.relnamespace
   WHERE c.relpersistence <> 't' AND c.oid <> ALL (%(skip)s::oid[])
     AND (%(relations)s::oid[] IS NULL OR c.oid = ANY (%(relations)s::oid[]))
)
SELECT 'pg_catalog.pg_class'::regclass::oid::bigint, c.oid::bigint, 0, 'definition', pg_catalog.pg_get_viewdef(c.oid)
  FROM rel c WHERE c.relkind IN ('v', 'm')
UNION ALL
SELECT 'pg_catalog.pg_rewrite'::regclass::oid::bigint, r.oid::bigint, 0, 'definition', pg_catalog.pg_get_ruledef(r.oid)
  FROM pg_catalog.pg_rewrite r JOIN rel c ON c.oid = r.ev_class WHERE r.rulename <> '_RETURN'
UNION ALL
SELECT 'pg_catalog.pg_class'::regclass::oid::bigint, c.oid::bigint, d.adnum::int, 'generated as', pg_catalog.pg_get_expr(d.adbin, d.adrelid)
  FROM pg_catalog.pg_attrdef d JOIN rel c ON c.oid = d.adrelid
  JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE coalesce(to_jsonb(a) ->> 'attgenerated', '') <> ''
UNION ALL
SELECT 'pg_catalog.pg_policy'::regclass::oid::bigint, p.oid::bigint, 0, x.part, x.text
  FROM pg_catalog.pg_policy p JOIN rel c ON c.oid = p.polrelid,
       LATERAL (VALUES ('using', pg_catalog.pg_get_expr(p.polqual, p.polrelid)), ('with check', pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid))) x(part, text)
 WHERE x.text IS NOT NULL
