-- What words of function bodies stand for: word, 'plain' or 'taken'. Plain is what pg_catalog has alone: types, and functions of
-- which none depends on more than its arguments, or on forms and the zone (those are listed), nor takes the name of an object (regclass and its like, which is looked up
-- by the search_path). Taken is what somebody has given to an object in any schema. Operators too.
-- :parameters words (text[])   :versions 9.3+
WITH own AS (
  SELECT p.proname::text AS word FROM pg_catalog.pg_proc p WHERE p.oid >= 16384
  UNION SELECT t.typname::text FROM pg_catalog.pg_type t WHERE t.oid >= 16384
  UNION SELECT c.relname::text FROM pg_catalog.pg_class c WHERE c.oid >= 16384
  UNION SELECT o.oprname::text FROM pg_catalog.pg_operator o WHERE o.oid >= 16384
), plain AS (
  SELECT p.proname::text AS word
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace AND n.nspname = 'pg_catalog'
   WHERE p.proname::text = ANY (%(words)s)
   GROUP BY 1
  HAVING bool_and((p.provolatile = 'i' OR p.proname IN ('age', 'array_agg', 'array_to_string', 'concat', 'concat_ws', 'date_part',
             'date_trunc', 'extract', 'format', 'json_build_array', 'json_build_object', 'jsonb_build_array', 'jsonb_build_object',
             'quote_literal', 'quote_nullable', 'row_to_json', 'string_agg', 'timezone', 'to_char', 'to_date', 'to_json', 'to_jsonb',
             'to_number', 'to_timestamp')) AND p.oid < 16384 AND NOT EXISTS (
           SELECT 1 FROM pg_catalog.pg_type t WHERE t.oid = ANY (p.proargtypes::oid[]) AND t.typname ~ '^_?reg'))
  UNION
  SELECT t.typname::text
    FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace AND n.nspname = 'pg_catalog'
   WHERE t.typname::text = ANY (%(words)s) AND t.oid < 16384 AND t.typrelid = 0 AND t.typtype <> 'p' AND t.typname !~ '^_|^reg'
)
SELECT o.word, 'taken' FROM own o WHERE o.word = ANY (%(words)s)
UNION ALL SELECT p.word, 'plain' FROM plain p WHERE p.word NOT IN (SELECT o.word FROM own o WHERE o.word IS NOT NULL)
