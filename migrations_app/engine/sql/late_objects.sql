-- Indexes and proved checks of tables and domains, and stored generated columns, whose functions may read other tables, so that they
-- mean something only when the rows of all tables are there, and proved checks that depend on when or by whom they are asked, which
-- old rows may break: kind, catalog, oid, schema, table or domain, name, definition (of a column: the name of one that it
-- is computed from). `domain inside`: the server cannot prove the check of a domain that columns have in arrays or rows.
-- A body that reads nothing may be taken for one that does (extract(day FROM x)): then it is only made later.
-- :parameters none   :versions 9.3+   :needs an empty search_path (bodies in the catalog exist since 14)
WITH own AS (
  SELECT f.oid, f.proname, f.prosrc
    FROM pg_catalog.pg_proc f
    JOIN pg_catalog.pg_language l ON l.oid = f.prolang
   WHERE f.oid >= 16384 AND l.lanname NOT IN ('c', 'internal')
     AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend e
                      WHERE e.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND e.objid = f.oid AND e.deptype = 'e')
), uses AS (
  SELECT DISTINCT d.classid, d.objid, d.refobjid AS fn
    FROM pg_catalog.pg_depend d
    JOIN own o ON o.oid = d.refobjid
   WHERE d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
     AND d.classid IN ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_constraint'::pg_catalog.regclass,
                       'pg_catalog.pg_attrdef'::pg_catalog.regclass)
), used AS (  -- OFFSET 0: bodies are looked through for these functions alone
  SELECT o.oid, o.prosrc FROM own o WHERE o.oid IN (SELECT fn FROM uses) OFFSET 0
), reads AS (  -- an array, which is made once: rows may be made anew for each object that uses a function
  SELECT array_agg(o.oid) AS fns FROM used o
   WHERE (o.prosrc ~* '\m(from|join|table|execute|perform|call)\M'
          OR o.prosrc ~* '\m(now|current_(date|time|timestamp)|localtime(stamp)?|(clock|statement|transaction)_timestamp|timeofday)\M'
          OR EXISTS (SELECT 1 FROM pg_catalog.pg_proc b
                      WHERE b.oid = o.oid AND pg_catalog.row_to_json(b) ->> 'prosqlbody' LIKE '%{SQLVALUEFUNCTION %')
          OR EXISTS (SELECT 1 FROM own x WHERE x.oid <> o.oid AND position(x.proname::text IN o.prosrc) > 0)
          OR EXISTS (SELECT 1 FROM pg_catalog.pg_depend b
                      WHERE b.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND b.objid = o.oid
                        AND (b.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass OR b.refobjid IN (SELECT oid FROM own))))
), passing AS (
  SELECT k.oid FROM pg_catalog.pg_constraint k
   WHERE k.contype = 'c' AND k.oid >= 16384
     AND (k.conbin::text LIKE '%{SQLVALUEFUNCTION %'
          -- What CURRENT_DATE and the like were before 10, which a dump carries on into later servers.
          OR (k.conbin::text LIKE '%{COERCEVIAIO %' AND pg_catalog.pg_get_constraintdef(k.oid) LIKE '%(''now''::text)::%')
          OR EXISTS (SELECT 1 FROM pg_catalog.regexp_matches(k.conbin::text, ':funcid ([0-9]+)', 'g') m(found)
                       JOIN pg_catalog.pg_proc p ON p.oid = m.found[1]::oid
                      WHERE p.oid < 16384 AND p.proname IN ('now', 'transaction_timestamp', 'statement_timestamp', 'clock_timestamp',
                            'timeofday', 'random', 'current_setting', 'current_user', 'session_user', 'getpgusername', 'age')))
), late AS (
  SELECT u.classid, u.objid FROM uses u WHERE u.fn = ANY ((SELECT fns FROM reads)::oid[])
  UNION
  SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass::oid, p.oid FROM passing p
)
SELECT 'index', 1259::bigint, x.indexrelid::bigint, n.nspname::text, c.relname::text, i.relname::text, ''
  FROM late l
  JOIN pg_catalog.pg_index x ON x.indexrelid = l.objid
  JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
  JOIN pg_catalog.pg_class c ON c.oid = x.indrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE l.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.relkind IN ('r', 'p')
UNION ALL
SELECT 'check', 2606, k.oid::bigint, n.nspname::text, c.relname::text, k.conname::text, pg_catalog.pg_get_constraintdef(k.oid)
  FROM late l
  JOIN pg_catalog.pg_constraint k ON k.oid = l.objid
  JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE l.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND k.contype = 'c' AND k.convalidated
   AND k.conislocal AND c.relkind IN ('r', 'p')
UNION ALL
SELECT 'generated', 2604, d.oid::bigint, n.nspname::text, c.relname::text, a.attname::text,
       coalesce((SELECT min(b.attname::text)
                   FROM pg_catalog.pg_depend p
                   JOIN pg_catalog.pg_attribute b ON b.attrelid = p.refobjid AND b.attnum = p.refobjsubid
                  WHERE p.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND p.objid = d.oid
                    AND p.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND p.refobjid = d.adrelid
                    AND p.refobjsubid NOT IN (0, d.adnum)), '')
  FROM late l
  JOIN pg_catalog.pg_attrdef d ON d.oid = l.objid
  JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
  JOIN pg_catalog.pg_class c ON c.oid = d.adrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE l.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND pg_catalog.row_to_json(a) ->> 'attgenerated' = 's'
UNION ALL
SELECT CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_attribute b
                           JOIN pg_catalog.pg_class o ON o.oid = b.attrelid
                           JOIN pg_catalog.pg_type y ON y.oid = b.atttypid
                          WHERE b.attnum > 0 AND NOT b.attisdropped
                            AND ((y.typelem = t.oid AND y.typlen = -1) OR (y.oid = t.oid AND o.relkind = 'c')))
            THEN 'domain inside' ELSE 'domain' END, 2606, k.oid::bigint, n.nspname::text, t.typname::text, k.conname::text, pg_catalog.pg_get_constraintdef(k.oid)
  FROM late l
  JOIN pg_catalog.pg_constraint k ON k.oid = l.objid
  JOIN pg_catalog.pg_type t ON t.oid = k.contypid
  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
 WHERE l.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND k.contype = 'c' AND k.convalidated
 ORDER BY 1, 4, 5, 6
