-- Nothing: before 10 a server does not remember the versions of its collations.
-- :parameters none   :versions 9.3 to 9.6
SELECT ''::text, ''::text, ''::text, ''::text, ''::text WHERE false
