-- User sequences and how far they are: oid, what `sequences` tells, the last value that was given out (NULL: none yet,
-- or not readable), and whether the account may read it.
-- :parameters none   :versions 10+
SELECT c.oid::bigint, n.nspname::text, c.relname::text, q.seqincrement, q.seqcycle, q.seqstart, o.nspname::text, t.relname::text,
       coalesce(d.deptype = 'i', false),
       CASE WHEN r.may THEN pg_catalog.pg_sequence_last_value(c.oid) END, r.may
  FROM pg_catalog.pg_sequence q
  JOIN pg_catalog.pg_class c ON c.oid = q.seqrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN LATERAL (SELECT pg_catalog.has_sequence_privilege(c.oid, 'SELECT')) r(may)
  LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
       AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
  LEFT JOIN pg_catalog.pg_class t ON t.oid = d.refobjid
  LEFT JOIN pg_catalog.pg_namespace o ON o.oid = t.relnamespace
 WHERE c.relpersistence <> 't' AND n.nspname <> 'towpath' AND n.nspname NOT LIKE 'pg\_%'
 ORDER BY 1
