-- Whether every column of these tables, and each of these types, travels in binary form without a change of meaning.
-- :parameters tables, types: arrays of oids   :versions 14+
-- Only types whose binary form is the same in every version and on every server. Arrays and ranges of user types carry
-- oids, reg* types are oids, an enum is its label.
WITH RECURSIVE used AS (
  SELECT unnest(%(types)s::oid[]) AS type
  UNION SELECT a.atttypid FROM pg_catalog.pg_attribute a
   WHERE a.attrelid = ANY (%(tables)s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
), below AS (
  SELECT t.oid, t.typtype, t.typbasetype FROM used LEFT JOIN pg_catalog.pg_type t ON t.oid = used.type
  UNION ALL
  SELECT d.oid, d.typtype, d.typbasetype FROM below JOIN pg_catalog.pg_type d ON d.oid = below.typbasetype WHERE below.typtype = 'd'
)
SELECT coalesce(bool_and(coalesce(below.typtype = 'e' OR t.oid < 16384 AND pg_catalog.ltrim(t.typname, '_') IN (
         'bool', 'bytea', 'char', 'name', 'int8', 'int2', 'int4', 'text', 'oid', 'json', 'jsonb', 'jsonpath', 'point',
         'lseg', 'path', 'box', 'polygon', 'line', 'circle', 'cidr', 'inet', 'macaddr', 'macaddr8', 'float4', 'float8',
         'money', 'bpchar', 'varchar', 'date', 'time', 'timestamp', 'timestamptz', 'interval', 'timetz', 'bit', 'varbit',
         'numeric', 'uuid', 'pg_lsn', 'int4range', 'int8range', 'numrange', 'tsrange', 'tstzrange', 'daterange',
         'int4multirange', 'int8multirange', 'nummultirange', 'tsmultirange', 'tstzmultirange', 'datemultirange'), false)), true)
  FROM below LEFT JOIN pg_catalog.pg_type t ON t.oid = below.oid
 WHERE below.typtype IS DISTINCT FROM 'd'
