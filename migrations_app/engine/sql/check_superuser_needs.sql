-- Which of these objects the rows cannot do without: catalog, oid, and the table whose definition needs it (a default, a
-- check, a generated column, the key of partitions), or 0 for a type, which is made whatever is selected.
-- :parameters catalogs, objects (oid[], of the same length)   :versions 9.3+
WITH RECURSIVE needing(catalog, object, class, oid) AS (
  SELECT u.catalog, u.object, u.catalog, u.object
    FROM (SELECT unnest(%(catalogs)s::oid[]) AS catalog, unnest(%(objects)s::oid[]) AS object) u
  UNION
  SELECT n.catalog, n.object, d.classid, d.objid
    FROM needing n JOIN pg_catalog.pg_depend d ON d.refclassid = n.class AND d.refobjid = n.oid
   WHERE d.deptype IN ('n', 'a', 'i')
     AND n.class NOT IN ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_attrdef'::pg_catalog.regclass,
                         'pg_catalog.pg_constraint'::pg_catalog.regclass)
     AND d.classid NOT IN ('pg_catalog.pg_rewrite'::pg_catalog.regclass, 'pg_catalog.pg_trigger'::pg_catalog.regclass)
), placed AS (
  SELECT n.catalog, n.object, CASE n.class
           WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN n.oid
           WHEN 'pg_catalog.pg_attrdef'::pg_catalog.regclass THEN (SELECT d.adrelid FROM pg_catalog.pg_attrdef d WHERE d.oid = n.oid)
           WHEN 'pg_catalog.pg_constraint'::pg_catalog.regclass
           THEN (SELECT k.conrelid FROM pg_catalog.pg_constraint k WHERE k.oid = n.oid AND k.contype = 'c' AND k.convalidated AND k.contypid = 0)
         END AS tab,
         CASE n.class
           WHEN 'pg_catalog.pg_type'::pg_catalog.regclass
           THEN EXISTS (SELECT 1 FROM pg_catalog.pg_type t WHERE t.oid = n.oid AND t.typtype IN ('b', 'd', 'e', 'r', 'c')
                           AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_type e WHERE e.typarray = t.oid))
           WHEN 'pg_catalog.pg_constraint'::pg_catalog.regclass
           THEN EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k WHERE k.oid = n.oid AND k.contypid <> 0)
           ELSE false
         END AS typed
    FROM needing n
)
SELECT p.catalog::bigint, p.object::bigint, 0::bigint FROM placed p WHERE p.typed
UNION
SELECT p.catalog::bigint, p.object::bigint, c.oid::bigint
  FROM placed p JOIN pg_catalog.pg_class c ON c.oid = p.tab WHERE c.relkind IN ('r', 'p')
 ORDER BY 1, 2, 3
