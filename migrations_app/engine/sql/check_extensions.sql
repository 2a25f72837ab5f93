-- Installed extensions and the tables whose columns use one of their types.
-- :parameters none   :versions 9.3+
SELECT e.extname::text,
       coalesce((SELECT array_agg(DISTINCT a.attrelid::bigint)
                   FROM pg_catalog.pg_depend d
                   JOIN pg_catalog.pg_type t ON t.oid = d.objid
                   JOIN pg_catalog.pg_attribute a ON a.atttypid IN (t.oid, t.typarray) AND NOT a.attisdropped
                  WHERE d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
                    AND d.classid = 'pg_catalog.pg_type'::regclass), '{}') AS used_by
  FROM pg_catalog.pg_extension e
 WHERE e.extname <> 'plpgsql'
 ORDER BY 1
