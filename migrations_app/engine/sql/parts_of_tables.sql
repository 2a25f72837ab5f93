-- Statements that drop what hangs on tables by itself. Such a part may need a function that needs the table, so that
-- neither can go first. What a partition has from its parent goes with that of the parent.
-- :parameters schemas and names of the tables (two arrays of text)   :versions 10+
WITH part AS (
  SELECT t.tgrelid AS relation, 'DROP TRIGGER ' || pg_catalog.quote_ident(t.tgname) || ' ON ' AS head, '' AS tail
    FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal
  UNION ALL
  SELECT p.polrelid, 'DROP POLICY ' || pg_catalog.quote_ident(p.polname) || ' ON ', '' FROM pg_catalog.pg_policy p
  UNION ALL
  SELECT r.ev_class, 'DROP RULE ' || pg_catalog.quote_ident(r.rulename) || ' ON ', ''
    FROM pg_catalog.pg_rewrite r WHERE r.rulename <> '_RETURN'
  UNION ALL
  SELECT k.conrelid, 'ALTER TABLE ', ' DROP CONSTRAINT ' || pg_catalog.quote_ident(k.conname)
    FROM pg_catalog.pg_constraint k WHERE k.contype IN ('c', 'x') AND k.coninhcount = 0
  UNION ALL
  SELECT d.adrelid, 'ALTER TABLE ', ' ALTER COLUMN ' || pg_catalog.quote_ident(a.attname) || ' DROP DEFAULT'
    FROM pg_catalog.pg_attrdef d
    JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
   WHERE coalesce(pg_catalog.row_to_json(a) ->> 'attgenerated', '') = ''
)
SELECT p.head || pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) || p.tail
  FROM part p
  JOIN pg_catalog.pg_class c ON c.oid = p.relation
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE (n.nspname, c.relname) IN (SELECT u.s, u.t FROM unnest(%(schemas)s::text[], %(names)s::text[]) u(s, t))
UNION ALL
SELECT 'DROP INDEX ' || pg_catalog.quote_ident(m.nspname) || '.' || pg_catalog.quote_ident(i.relname)
  FROM pg_catalog.pg_index x
  JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
  JOIN pg_catalog.pg_namespace m ON m.oid = i.relnamespace
  JOIN pg_catalog.pg_class c ON c.oid = x.indrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE (n.nspname, c.relname) IN (SELECT u.s, u.t FROM unnest(%(schemas)s::text[], %(names)s::text[]) u(s, t))
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k WHERE k.conindid = x.indexrelid)
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_inherits h WHERE h.inhrelid = x.indexrelid)
 ORDER BY 1
