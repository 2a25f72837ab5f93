-- User sequences and how far they are: oid, what `sequences` tells, the last value that was given out (NULL: none yet,
-- or not readable), and whether the account may read it.
-- To ask a sequence is to lock it until the transaction ends: so many are asked at once.
-- :parameters after (oid: those behind it), most   :versions 10+
SELECT c.oid::bigint, c.nspname::text, c.relname::text, q.seqincrement, q.seqcycle, q.seqstart, o.nspname::text, t.relname::text,
       coalesce(d.deptype = 'i', false), a.attname::text,
       CASE WHEN r.may THEN pg_catalog.pg_sequence_last_value(c.oid) END, r.may
  FROM (SELECT c.oid, c.relname, n.oid AS space, n.nspname
          FROM pg_catalog.pg_class c
          JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname <> 'towpath' AND n.nspname NOT LIKE 'pg\_%%'
           AND c.oid > %(after)s::bigint::oid
         ORDER BY c.oid LIMIT %(most)s) c
  JOIN pg_catalog.pg_sequence q ON q.seqrelid = c.oid
 CROSS JOIN LATERAL (SELECT pg_catalog.has_sequence_privilege(c.oid, 'SELECT')) r(may)
  LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
       AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
  LEFT JOIN pg_catalog.pg_class t ON t.oid = d.refobjid
  LEFT JOIN pg_catalog.pg_namespace o ON o.oid = t.relnamespace
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
 ORDER BY 1
