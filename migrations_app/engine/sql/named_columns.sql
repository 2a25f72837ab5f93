-- Columns of user tables whose values name objects (regclass and the like), also inside of domains, arrays, ranges and composites: table,
-- column, type of the name, and the way to it: '[]' into the elements of an array, '[)' to the bounds of a range, '.name' into a field.
-- :parameters tables (oid[], or null for all)   :versions 9.3+
WITH RECURSIVE holds(whole, part, step) AS (
  SELECT t.oid, t.typbasetype, '{}'::text[] FROM pg_catalog.pg_type t WHERE t.typtype = 'd'
  UNION ALL
  SELECT t.oid, t.typelem, '{[]}'::text[] FROM pg_catalog.pg_type t WHERE t.typelem <> 0 AND t.typlen = -1
  UNION ALL
  SELECT r.rngtypid, r.rngsubtype, '{[)}'::text[] FROM pg_catalog.pg_range r WHERE r.rngtypid >= 16384
  UNION ALL
  SELECT m.whole, m.part, '{[]}'::text[]
    FROM (SELECT (pg_catalog.row_to_json(r) ->> 'rngmultitypid')::oid AS whole, r.rngtypid AS part FROM pg_catalog.pg_range r) m
   WHERE m.whole >= 16384
  UNION ALL
  SELECT c.reltype, a.atttypid, ARRAY[('.' || a.attname) COLLATE pg_catalog."default"]
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
   WHERE c.oid >= 16384 AND c.reltype <> 0 AND a.attnum > 0 AND NOT a.attisdropped
     AND (a.atttypid >= 16384 OR a.atttypid IN (SELECT r.oid FROM pg_catalog.pg_type r WHERE r.typname ~ '^_?reg'))
), named(type, kind, way) AS (
  SELECT t.oid, t.typname::text, '{}'::text[]
    FROM pg_catalog.pg_type t
   WHERE t.typname IN ('regclass', 'regtype', 'regproc', 'regprocedure', 'regoper', 'regoperator', 'regnamespace', 'regrole',
                       'regconfig', 'regdictionary', 'regcollation')
     AND t.typnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = 'pg_catalog')
  UNION
  SELECT h.whole, n.kind, h.step || n.way FROM named n JOIN holds h ON h.part = n.type
)
SELECT a.attrelid::bigint, a.attname::text, n.kind, n.way
  FROM named n
  JOIN pg_catalog.pg_attribute a ON a.atttypid = n.type
  JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
 WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped
   AND (%(tables)s::oid[] IS NULL OR c.oid = ANY (%(tables)s::oid[]))
 ORDER BY a.attrelid, a.attnum, n.kind, n.way
