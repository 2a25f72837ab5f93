-- Nothing: before 9.5 there is no row security.
-- :parameters none   :versions 9.3 to 9.4
SELECT ''::text, ''::text, ''::text, ''::text, ''::text, true WHERE false
