-- Children of partitioned and of inherited tables: child oid, child, its kind, whether it is a partition, parent oid,
-- parent, whether a DETACH is not finished, whether the parent is a foreign table or one that an extension makes.
-- :parameters none   :versions 9.3+   (inhdetachpending exists since 14: read through row_to_json)
SELECT c.oid::bigint, cn.nspname || '.' || c.relname, c.relkind::text, coalesce((pg_catalog.row_to_json(c) ->> 'relispartition')::boolean, false), p.oid::bigint,
       pn.nspname || '.' || p.relname, coalesce((pg_catalog.row_to_json(i) ->> 'inhdetachpending')::boolean, false),
       p.relkind = 'f' OR EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                                   WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'e')
  FROM pg_catalog.pg_inherits i
  JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
  JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
  JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
  JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
 WHERE c.relkind IN ('r', 'p', 'f') AND cn.nspname NOT IN ('pg_catalog', 'information_schema')
 ORDER BY 2, 6
