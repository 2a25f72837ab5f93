-- Nothing: before 9.6 a server does not remember which privileges its system objects came with.
-- :parameters none   :versions 9.3 to 9.5
SELECT ''::text, ''::text WHERE false
