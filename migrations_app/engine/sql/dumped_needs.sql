-- What a dump describes as an object of its own, and a table, view or sequence that it needs: catalog, oid, oid of what is needed.
-- A view needs what its rule needs, a table what its defaults and checks need; a row type stands for its table.
-- :parameters none   :versions 9.3+
WITH said AS (
  SELECT d.classid, d.objid, d.refobjid FROM pg_catalog.pg_depend d
   WHERE d.refclassid = 1259 AND d.deptype IN ('n', 'a') AND d.refobjid >= 16384
  UNION
  SELECT d.classid, d.objid, c.oid FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_type t ON t.oid = d.refobjid
    JOIN pg_catalog.pg_class c ON c.oid = t.typrelid OR (t.typlen = -1 AND c.reltype = t.typelem)
   WHERE d.refclassid = 1247 AND d.deptype IN ('n', 'a') AND d.refobjid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
)
SELECT DISTINCT k.classid::bigint, k.objid::bigint, s.refobjid::bigint
  FROM said s
  LEFT JOIN pg_catalog.pg_rewrite r ON s.classid = 2618 AND r.oid = s.objid AND r.rulename = '_RETURN'
  LEFT JOIN pg_catalog.pg_attrdef a ON s.classid = 2604 AND a.oid = s.objid
  LEFT JOIN pg_catalog.pg_constraint o ON s.classid = 2606 AND o.oid = s.objid AND o.contype = 'c',
  LATERAL (VALUES (s.classid, s.objid), (1259::oid, r.ev_class), (1259::oid, a.adrelid), (1259::oid, o.conrelid)) k(classid, objid)
 WHERE k.objid >= 16384 AND NOT (k.classid = 1259 AND k.objid = s.refobjid)
