-- Nothing: before 9.5 there is no row security, and no transform.
-- :parameters skip (oid[])   :versions 9.3 to 9.4
SELECT ''::text, ''::text, ''::text, ''::text, 0::bigint, 0::bigint, 0, true, '{}'::text WHERE %(skip)s::oid[] IS NULL
