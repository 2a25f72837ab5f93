-- The proved foreign keys that lead to one table, from some tables or from all others: the columns that they refer to, and
-- a query for whether a row refers to one that is not there. Keys of periods are left out: they may be met by several
-- rows together.
-- :parameters table, tables (regclass[]), among (from those or from the others)   :versions 10+
SELECT array_agg(p.attname::text ORDER BY k.place),
       'SELECT EXISTS (SELECT FROM ONLY ' || x.child || ' c WHERE ' || string_agg('c.' || quote_ident(c.attname) || ' IS NOT NULL', ' AND ')
       || ' AND NOT EXISTS (SELECT FROM ONLY ' || x.parent || ' p WHERE '
       || string_agg('p.' || quote_ident(p.attname) || ' OPERATOR(' || quote_ident(n.nspname) || '.' || o.oprname || ') c.' || quote_ident(c.attname), ' AND ')
       || '))'
  FROM (SELECT f.oid, f.conrelid, f.confrelid, f.conkey, f.confkey, f.conpfeqop, format('%%I.%%I', cn.nspname, cc.relname) AS child,
               format('%%I.%%I', pn.nspname, pc.relname) AS parent
          FROM pg_catalog.pg_constraint f
          JOIN pg_catalog.pg_class cc ON cc.oid = f.conrelid AND cc.relkind = 'r' JOIN pg_catalog.pg_namespace cn ON cn.oid = cc.relnamespace
          JOIN pg_catalog.pg_class pc ON pc.oid = f.confrelid JOIN pg_catalog.pg_namespace pn ON pn.oid = pc.relnamespace
         WHERE f.contype = 'f' AND f.convalidated AND f.confrelid = %(table)s::pg_catalog.regclass
           AND (f.conrelid = ANY (%(tables)s::pg_catalog.regclass[])) = %(among)s
           AND coalesce(pg_catalog.row_to_json(f) ->> 'conperiod', 'false') = 'false') x
 CROSS JOIN LATERAL unnest(x.conkey, x.confkey, x.conpfeqop) WITH ORDINALITY k(here, there, equal, place)
  JOIN pg_catalog.pg_attribute c ON c.attrelid = x.conrelid AND c.attnum = k.here
  JOIN pg_catalog.pg_attribute p ON p.attrelid = x.confrelid AND p.attnum = k.there
  JOIN pg_catalog.pg_operator o ON o.oid = k.equal JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
 GROUP BY x.oid, x.child, x.parent
