-- Which role is a member of which: role, member, may pass it on, and since 16 whether it inherits and may become it.
-- :parameters none   :versions 9.3+
SELECT g.rolname::text, m.rolname::text, bool_or(a.admin_option), bool_or(coalesce((pg_catalog.row_to_json(a) ->> 'inherit_option')::bool, true)),
       bool_or(coalesce((pg_catalog.row_to_json(a) ->> 'set_option')::bool, true))
  FROM pg_catalog.pg_auth_members a JOIN pg_catalog.pg_roles g ON g.oid = a.roleid JOIN pg_catalog.pg_roles m ON m.oid = a.member
 GROUP BY 1, 2 ORDER BY 1, 2
