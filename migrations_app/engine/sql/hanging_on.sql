-- Everything that hangs on some tables, however indirectly, as (catalog, oid): views, keys, functions, their indexes.
-- :parameters tables (array of oids)   :versions 9.3+
WITH RECURSIVE hanging(catalog, oid) AS (
  SELECT 1259::oid, unnest(%(tables)s::oid[])
  UNION
  SELECT k.catalog, k.oid
    FROM hanging h
    JOIN pg_catalog.pg_depend d ON d.refclassid = h.catalog AND d.refobjid = h.oid AND d.deptype <> 'e'
    LEFT JOIN pg_catalog.pg_rewrite r ON d.classid = 2618 AND r.oid = d.objid AND r.rulename = '_RETURN',
    LATERAL (SELECT d.classid, d.objid UNION ALL SELECT 1259, r.ev_class WHERE r.oid IS NOT NULL) k(catalog, oid)
)
SELECT catalog::bigint, oid::bigint FROM hanging WHERE oid >= 16384
