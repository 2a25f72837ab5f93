-- User sequences: oid, schema, name, increment, whether it cycles, where it starts, schema and name of the table whose column owns it,
-- whether it is the column's identity, the column.
-- :parameters after (oid: those behind it), most   :versions 10+
SELECT c.oid::bigint, n.nspname::text, c.relname::text, q.seqincrement, q.seqcycle, q.seqstart, o.nspname::text, t.relname::text, coalesce(d.deptype = 'i', false), a.attname::text
  FROM pg_catalog.pg_sequence q
  JOIN pg_catalog.pg_class c ON c.oid = q.seqrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
       AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
  LEFT JOIN pg_catalog.pg_class t ON t.oid = d.refobjid
  LEFT JOIN pg_catalog.pg_namespace o ON o.oid = t.relnamespace
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
 WHERE c.relpersistence <> 't' AND n.nspname <> 'towpath' AND n.nspname NOT LIKE 'pg\_%%'
 AND c.oid > %(after)s::bigint::oid
 ORDER BY 1 LIMIT %(most)s
