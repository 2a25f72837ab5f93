-- The next messages of a slot, of changes of rows only their kind and table; nothing is taken out of it.
-- :parameters slot, how many changes at most, publication as an identifier   :versions 10+
SELECT CASE WHEN pg_catalog.substr(data, 1, 1) IN ('I', 'U', 'D') THEN pg_catalog.substr(data, 1, 5) ELSE data END
  FROM pg_catalog.pg_logical_slot_peek_binary_changes(%s::text::name, NULL, %s::int,
       'proto_version', '1', 'publication_names', %s::text)
