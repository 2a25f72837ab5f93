-- Columns of great width on average, as the statistics know it: schema, table, column, bytes. Only what the account may
-- read. The view is read once: to join it by its names takes minutes where thousands of schemas hold the same ones.
-- :parameters %(least)s int bytes   :versions 9.3+
SELECT s.schemaname::text, s.tablename::text, s.attname::text, max(s.avg_width)
  FROM pg_catalog.pg_stats s
 WHERE s.avg_width > %(least)s AND s.schemaname NOT IN ('pg_catalog', 'information_schema')
 GROUP BY 1, 2, 3
 ORDER BY 4 DESC, 3
