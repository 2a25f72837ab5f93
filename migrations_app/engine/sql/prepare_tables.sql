-- What must be changed on the target before changes may be applied to the given tables: identity columns that are
-- GENERATED ALWAYS, triggers and rules that would fire. Partitioned roots above the tables are looked at for identity;
-- of a partitioned table that is given itself, all its partitions are meant too, but for the copies of its own triggers.
-- :parameters %(schemas)s text[], %(names)s text[], %(states)s text[] firing states of triggers and rules   :versions 10+
WITH RECURSIVE given AS (
  SELECT c.oid FROM unnest(%(schemas)s::text[], %(names)s::text[]) u(schema, name)
    JOIN pg_catalog.pg_namespace n ON n.nspname = u.schema
    JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = u.name AND c.relkind IN ('r', 'p')
  UNION
  SELECT i.inhrelid FROM given g JOIN pg_catalog.pg_class p ON p.oid = g.oid AND p.relkind = 'p'
    JOIN pg_catalog.pg_inherits i ON i.inhparent = g.oid
), family AS (
  SELECT oid FROM given
  UNION
  SELECT i.inhparent FROM family f JOIN pg_catalog.pg_inherits i ON i.inhrelid = f.oid
    JOIN pg_catalog.pg_class c ON c.oid = f.oid AND c.relispartition
)
SELECT 'identity' AS what, n.nspname, c.relname, a.attname AS name, a.attidentity::text AS was
  FROM family f JOIN pg_catalog.pg_class c ON c.oid = f.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attidentity = 'a' AND NOT a.attisdropped
 -- Since 17 a partition has its root's identity, and only the root can change it.
 WHERE NOT (c.relispartition AND pg_catalog.current_setting('server_version_num')::int >= 170000)
UNION ALL
SELECT 'trigger', n.nspname, c.relname, t.tgname, t.tgenabled::text
  FROM given g JOIN pg_catalog.pg_class c ON c.oid = g.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled::text = ANY (%(states)s::text[])
   AND (coalesce(pg_catalog.row_to_json(t) ->> 'tgparentid', '0') = '0' OR NOT EXISTS (
     SELECT FROM given o JOIN pg_catalog.pg_trigger a ON a.tgrelid = o.oid
      WHERE a.oid::text = pg_catalog.row_to_json(t) ->> 'tgparentid'))
UNION ALL
SELECT 'rule', n.nspname, c.relname, r.rulename, r.ev_enabled::text
  FROM given g JOIN pg_catalog.pg_class c ON c.oid = g.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid AND r.rulename <> '_RETURN' AND r.ev_enabled::text = ANY (%(states)s::text[])
 ORDER BY 1, 2, 3, 4
