-- Objects of kinds that came with 9.5, as object_parts.sql tells them: row security, its policies, transforms.
-- :parameters skip (oid[])   :versions 9.5+   (newer columns are read through to_jsonb so that older servers parse it)
WITH space AS (
  SELECT oid, nspname FROM pg_catalog.pg_namespace
   WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'towpath') AND nspname !~ '^pg_(temp|toast_temp)_'
), member AS (
  SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'
), rel AS (
  SELECT c.oid, c.relname, c.relrowsecurity, CASE WHEN c.relrowsecurity THEN to_jsonb(c) ->> 'relforcerowsecurity' = 'true' END AS forced, s.nspname FROM pg_catalog.pg_class c JOIN space s ON s.oid = c.relnamespace
   WHERE c.relpersistence <> 't' AND c.oid <> ALL (%(skip)s::oid[]) AND c.relkind IN ('r', 'p') AND NOT EXISTS (
     SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_class'::regclass AND m.objid = c.oid)
), thing(kind, schema, tab, name, class, oid, sub, parts) AS (
SELECT 'row security'::text, c.nspname::text, c.relname::text, ''::text, 'pg_catalog.pg_class'::regclass, c.oid, -1,
       jsonb_build_object('forced', coalesce(c.forced, false)) FROM rel c WHERE c.relrowsecurity
UNION ALL
SELECT 'policy', t.nspname, t.relname, p.polname, 'pg_catalog.pg_policy'::regclass, p.oid, 0,
       jsonb_build_object('command', p.polcmd, 'permissive', coalesce((to_jsonb(p) ->> 'polpermissive')::bool, true),
         'roles', (SELECT string_agg(CASE u.role WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(u.role)::text END, ', '
                            ORDER BY CASE u.role WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(u.role)::text END)
                     FROM unnest(p.polroles) u(role)))
  FROM pg_catalog.pg_policy p JOIN rel t ON t.oid = p.polrelid
UNION ALL
SELECT 'transform', '', '', pg_catalog.format_type(t.trftype, NULL) || ' for ' || l.lanname, 'pg_catalog.pg_transform'::regclass, t.oid, 0,
       jsonb_build_object('functions', concat_ws(' ', t.trffromsql, t.trftosql))
  FROM pg_catalog.pg_transform t JOIN pg_catalog.pg_language l ON l.oid = t.trflang
 WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_transform'::regclass AND m.objid = t.oid)
)
SELECT t.kind, t.schema, t.tab, t.name, t.class::oid::bigint, t.oid::bigint, t.sub, true,
       jsonb_strip_nulls(t.parts || jsonb_build_object('comment', d.description))::text
  FROM thing t LEFT JOIN pg_catalog.pg_description d ON d.classoid = t.class AND d.objoid = t.oid AND d.objsubid = t.sub
 ORDER BY 1, 2, 3, 4
