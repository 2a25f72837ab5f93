-- Foreign keys between tables: child oid, parent oid, constraint, parent in words, child in words, whether the parent is
-- a table of an extension.
-- Clones on partitions are left out; their root's constraint stands for them.
-- :parameters none   :versions 9.3+
SELECT k.conrelid::bigint, k.confrelid::bigint, k.conname::text,
       pn.nspname || '.' || p.relname, cn.nspname || '.' || c.relname,
       EXISTS (SELECT 1 FROM pg_catalog.pg_depend e
                WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND e.objid = p.oid AND e.deptype = 'e')
  FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_class p ON p.oid = k.confrelid
  JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
  JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
 WHERE k.contype = 'f' AND coalesce(pg_catalog.row_to_json(k) ->> 'conparentid', '0') = '0'
 ORDER BY 4, 5
