-- Indexes as they stand: (schema, table, index, its kind, valid, attached to a parent's index, definition, is a constraint).
-- :parameters schema and table, both NULL for all   :versions 10+
SELECT n.nspname, c.relname, x.relname, x.relkind::text, i.indisvalid,
       EXISTS (SELECT 1 FROM pg_catalog.pg_inherits h WHERE h.inhrelid = i.indexrelid) AS attached,
       pg_catalog.pg_get_indexdef(i.indexrelid) AS definition,
       EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k
                WHERE k.conindid = i.indexrelid AND k.conrelid = c.oid AND k.contype IN ('p', 'u', 'x')) AS is_constraint
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
  JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid >= 16384 AND n.nspname !~ '^pg_toast'
   AND (%(schema)s::text IS NULL OR n.nspname = %(schema)s::text)
   AND (%(table)s::text IS NULL OR c.relname = %(table)s::text)
