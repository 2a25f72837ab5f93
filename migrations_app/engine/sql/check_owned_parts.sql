-- What only the owner of a table can add to it, by its name: schema and name of the table, what it is, its name, whether the copy
-- cannot end without it, the oid of the table that it leads to (0 = none), and whether it is the table's own: false for what comes
-- from a table further up.
-- :parameters none   :versions 9.3+   (newer columns are read through row_to_json)
WITH part(tab, kind, name, is_key, leads_to, own) AS (
SELECT x.indrelid, 'index', i.relname, x.indisunique, 0::oid,
       NOT EXISTS (SELECT 1 FROM pg_catalog.pg_inherits h WHERE h.inhrelid = i.oid)
  FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
 WHERE (x.indisvalid OR i.relkind = 'I')
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k WHERE k.conindid = i.oid AND k.contype IN ('p', 'u', 'x'))
UNION ALL
SELECT k.conrelid, CASE k.contype WHEN 'f' THEN 'foreign key' ELSE 'constraint' END, k.conname, k.contype <> 'f', k.confrelid,
       coalesce(pg_catalog.row_to_json(k) ->> 'conparentid', '0') = '0'
  FROM pg_catalog.pg_constraint k
 WHERE k.contype IN ('p', 'u', 'x', 'f')
UNION ALL
SELECT r.ev_class, 'rule', r.rulename, false, 0::oid, true FROM pg_catalog.pg_rewrite r WHERE r.rulename <> '_RETURN'
)
SELECT n.nspname::text, c.relname::text, p.kind, p.name::text, p.is_key, p.leads_to::bigint, p.own
  FROM part p
  JOIN pg_catalog.pg_class c ON c.oid = p.tab AND c.relkind IN ('r', 'p')
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'towpath')
 ORDER BY 1, 2, 3, 4
