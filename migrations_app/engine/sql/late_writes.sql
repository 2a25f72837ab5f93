-- The beginnings of the next messages of a slot, long enough for the names of a table; nothing is taken out of it.
-- :parameters slot, how many changes at most, publication as an identifier   :versions 10+
SELECT pg_catalog.substr(data, 1, 400)
  FROM pg_catalog.pg_logical_slot_peek_binary_changes(%s::text::name, NULL, %s::int,
       'proto_version', '1', 'publication_names', %s::text)
