-- User sequences: oid, schema, name, increment, whether it cycles, where it starts, schema and name of the table whose column owns it,
-- whether it is the column's identity, the column (of an identity alone).
-- The server asks each sequence, for which the account needs a right: of those that it may not read only the names are told.
-- To ask a sequence is to lock it until the transaction ends: so many are asked at once.
-- :parameters after (oid: those behind it), most   :versions 9.3 to 9.6
SELECT c.oid::bigint, c.nspname::text, c.relname::text, coalesce(q.increment, 1), coalesce(q.cycle_option, false), coalesce(q.start_value, 1),
       o.nspname::text, t.relname::text, false, NULL::text
  FROM (SELECT c.oid, c.relname, n.oid AS space, n.nspname
          FROM pg_catalog.pg_class c
          JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname <> 'towpath' AND n.nspname NOT LIKE 'pg\_%%'
           AND c.oid > %(after)s::bigint::oid
         ORDER BY c.oid LIMIT %(most)s) c
 CROSS JOIN LATERAL (SELECT pg_catalog.has_schema_privilege(c.space, 'USAGE')
       AND pg_catalog.has_sequence_privilege(c.oid, 'SELECT')) r(may)
  LEFT JOIN LATERAL pg_catalog.pg_sequence_parameters(CASE WHEN r.may THEN c.oid END) q ON true
  LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
       AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
  LEFT JOIN pg_catalog.pg_class t ON t.oid = d.refobjid
  LEFT JOIN pg_catalog.pg_namespace o ON o.oid = t.relnamespace
 ORDER BY 1
