-- Tables and sequences that stay as they are, and the sequences of identity columns of those tables, where the account lacks rights: kind,
-- schema, name, rights that it lacks.
-- :parameters schemas and names of tables and sequences (two arrays of text), on_tables and on_sequences (rights)   :versions 10+
WITH named AS (
  SELECT c.oid
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE (n.nspname, c.relname) IN (SELECT u.s, u.t FROM unnest(%(schemas)s::text[], %(names)s::text[]) u(s, t))
), kept AS (
  SELECT named.oid FROM named
  UNION
  SELECT d.objid FROM named
    JOIN pg_catalog.pg_depend d ON d.refobjid = named.oid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
   WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'i'
), looked AS (
  SELECT c.relkind::text AS kind, n.nspname::text AS schema, c.relname::text AS name,
         CASE c.relkind WHEN 'S' THEN ARRAY(SELECT r FROM unnest(%(on_sequences)s::text[]) r
                                             WHERE NOT pg_catalog.has_sequence_privilege(c.oid, r))
              ELSE ARRAY(SELECT r FROM unnest(%(on_tables)s::text[]) r WHERE NOT pg_catalog.has_table_privilege(c.oid, r)) END AS lacks
    FROM kept
    JOIN pg_catalog.pg_class c ON c.oid = kept.oid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'S')
)
SELECT kind, schema, name, lacks FROM looked WHERE lacks <> '{}' ORDER BY schema, name
