-- The demo shop, part 2: rows. The same scale gives the same rows everywhere: no clock, no random identifiers.

CREATE FUNCTION pg_temp.n(base integer) RETURNS integer
    LANGUAGE sql STABLE
    RETURN greatest(8, (base * current_setting('shop.scale')::double precision)::integer);

CREATE FUNCTION pg_temp.pick(choices text[], i bigint) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN choices[1 + i % cardinality(choices)];

CREATE FUNCTION pg_temp.key(kind text, i bigint) RETURNS uuid
    LANGUAGE sql IMMUTABLE
    RETURN md5(kind || i::text)::uuid;

INSERT INTO public.countries
SELECT code, name, 0.150 + i * 0.010, i % 3 <> 0
FROM unnest(
    ARRAY['AT', 'BE', 'CH', 'CN', 'CZ', 'DE', 'DK', 'ES', 'FR', 'GB', 'IN', 'IT', 'JP', 'NL', 'PL', 'SE'],
    ARRAY['Österreich', 'Belgique', 'Schweiz', '中国', 'Česko', 'Deutschland', 'Danmark', 'España', 'France',
          'United Kingdom', 'भारत', 'Italia', '日本', 'Nederland', 'Polska', 'Sverige']
) WITH ORDINALITY AS given (code, name, i);

INSERT INTO public.settings (key, value, changed_at)
SELECT 'setting.' || i, jsonb_build_object('enabled', i % 2 = 0, 'limit', i * 10, 'note', E'line 1\nline "2"\ttab \\ slash'),
       '2025-01-01 00:00:00+00'::timestamptz + i * interval '1 day'
FROM generate_series(1, 24) AS i;

INSERT INTO public.web_events (at, session, path, client, took, bot)
SELECT '2025-06-01 00:00:00+00'::timestamptz + i * interval '7 seconds',
       pg_temp.key('session', i / 6),
       pg_temp.pick(ARRAY['/', '/cart', '/checkout', '/search?q=blue%20shoes', '/account', '/sale'], i * 7 / 3)
           || CASE WHEN i % 4 = 0 THEN '/p/' || i % 8000 ELSE '' END,
       ('10.' || i % 200 || '.' || i % 251 || '.' || i % 17)::inet,
       i % 900 * interval '1 millisecond',
       i % 23 = 0
FROM generate_series(1, pg_temp.n(300000)) AS i;

INSERT INTO catalog.brands (name, country, founded)
SELECT pg_temp.pick(ARRAY['Nordlicht', 'Acme', 'Kōbō', 'Vélo', 'Oak & Sons', 'Żubr', 'Lumen', 'Bergmann'], i) || ' ' || i,
       pg_temp.pick(ARRAY['DE', 'GB', 'JP', 'FR', 'GB', 'PL', 'SE', 'CH'], i),
       CASE WHEN i % 5 > 0 THEN date '1901-03-01' + i::integer * 123 END
FROM generate_series(1, 120) AS i;

INSERT INTO catalog.categories (parent_id, title, position)
SELECT CASE WHEN i > 8 THEN 10 * (1 + (i - 9) / 4) END,
       pg_temp.pick(ARRAY['Home', 'Garden', 'Sport', 'Kitchen', 'Toys', 'Books', 'Music', 'Office'], i)
           || CASE WHEN i > 8 THEN ' – part ' || i ELSE '' END,
       i % 9
FROM generate_series(1, 72) AS i;

INSERT INTO catalog.products
    (sku, name, brand_id, category_id, price, tax, tags, attributes, size, ships_within, rating, sold, updated_at)
SELECT 'SKU-' || to_char(i, 'FM000000'),
       pg_temp.pick(ARRAY['Teapot', 'Bicycle bell', 'Desk lamp', 'Fauteuil', 'Wanderkarte', 'Notebook', 'Espresso cup'], i)
           || ' ' || pg_temp.pick(ARRAY['blue', 'grün', 'rouge', 'XL', '"Classic"', 'mini'], i / 7) || ' ' || i,
       CASE WHEN i % 11 > 0 THEN 1 + i % 120 END,
       10 * (1 + i % 72),
       (i * 37 % 20000) / 100.0 + 0.99,
       (ARRAY[0.190, 0.070, 0.000])[1 + i % 3],
       (ARRAY['new', 'sale', 'eco', 'it''s, fine', NULL, '{odd}', 'gift'])[1 + i % 3 : 1 + i % 7],
       jsonb_build_object('colour', pg_temp.pick(ARRAY['blue', 'red', 'green'], i), 'stock', i % 90, 'nested',
           jsonb_build_object('weights', jsonb_build_array(i % 5, i % 7 / 2.0, NULL))),
       CASE WHEN i % 6 > 0 THEN ROW(i % 90 + 0.5, i % 40, i % 70 + 0.1)::catalog.dimensions END,
       catalog.weight_range((i % 4)::numeric, CASE WHEN i % 9 > 0 THEN (i % 4 + 2.5)::numeric END),
       CASE WHEN i % 8 > 0 THEN (i % 50) / 10.0 END,
       i % 4 = 0,
       '2025-01-01 00:00:00+00'::timestamptz + i * interval '61 seconds'
FROM generate_series(1, pg_temp.n(8000)) AS i;

INSERT INTO catalog.product_images (product_id, file_name, content)
SELECT 1 + i % pg_temp.n(8000), 'image ' || i || '.png',
       decode(repeat(md5(i::text), 16 + i % 120 * 3), 'hex') || '\x00ff5c270d0a'::bytea
FROM generate_series(1, pg_temp.n(1600)) AS i;

INSERT INTO catalog.price_history
SELECT p, daterange(date '2024-01-01' + 150 * k, CASE WHEN k < 2 THEN date '2024-01-01' + 150 * (k + 1) END), (p * 37 % 20000) / 100.0 + k
FROM generate_series(1, pg_temp.n(8000)) AS p, generate_series(0, 2) AS k;

INSERT INTO catalog.related_products
SELECT p, 1 + (p + k * 31 - 1) % pg_temp.n(8000), sqrt(k * p)
FROM generate_series(1, pg_temp.n(8000)) AS p, generate_series(1, 3) AS k
ON CONFLICT DO NOTHING;

INSERT INTO catalog.reviews (product_id, author, stars, body, helpful, written_on)
SELECT 1 + i * 13 % pg_temp.n(8000),
       CASE WHEN i % 10 > 0 THEN pg_temp.pick(ARRAY['Ana', 'Björn', 'Chloé', '大輔', 'Ewa', 'Farid'], i) END,
       1 + i % 5,
       CASE WHEN i % 7 > 0 THEN repeat(pg_temp.pick(ARRAY['Very good. ', 'Kaputt nach 2 Tagen… ', 'C''est \parfait\ ', ''], i), 1 + (i % 9)::integer) END,
       (i % 65536)::integer::bit(16),
       date '2024-01-01' + (i % 700)::integer
FROM generate_series(1, pg_temp.n(60000)) AS i;

INSERT INTO sales.customers (email, full_name, address, phones, preferences, born, credit, created_at, deleted_at)
SELECT 'customer.' || i || '@example.' || pg_temp.pick(ARRAY['com', 'org', 'net'], i),
       pg_temp.pick(ARRAY['Anna', 'Björn', 'Chloé', 'Dmitri', 'Eve', 'Farid', '美咲', 'Zoë'], i) || ' '
           || pg_temp.pick(ARRAY['Müller', 'O''Brien', 'Smith', 'García', 'Nowak', 'Li', 'Sørensen'], i / 8),
       ROW((i % 200)::text || ' High Street', pg_temp.pick(ARRAY['Köln', 'Leeds', 'Łódź', 'Lyon'], i),
           CASE WHEN i % 9 > 0 THEN to_char(i % 99999, 'FM00000') END, pg_temp.pick(ARRAY['DE', 'GB', 'PL', 'FR'], i))::public.postal_address,
       CASE WHEN i % 3 > 0 THEN ARRAY['+49 30 ' || i, NULL, '(0)' || i] END,
       CASE WHEN i % 4 > 0 THEN jsonb_build_object('newsletter', i % 2 = 0, 'theme', 'dark', 'last', i) END,
       CASE WHEN i % 6 > 0 THEN date '1950-01-01' + (i * 17 % 20000)::integer END,
       (i % 1000) / 7.0,
       '2023-05-01 12:00:00+00'::timestamptz + i * interval '31 minutes',
       CASE WHEN i % 40 = 0 THEN '2025-11-11 11:11:11.111111+00'::timestamptz END
FROM generate_series(1, pg_temp.n(40000)) AS i;

INSERT INTO sales.customer_notes
SELECT CASE WHEN i % 50 > 0 THEN 1 + i % pg_temp.n(40000) END,
       CASE WHEN i % 50 > 0 THEN '2024-02-02 00:00:00'::timestamp + (i / 2) * interval '20 minutes' END,
       CASE WHEN i % 50 > 0 THEN pg_temp.pick(ARRAY['called', 'asked for a refund ', 'prefers mail', ''], i / 2) END
FROM generate_series(1, pg_temp.n(20000)) AS i;

INSERT INTO sales.coupons
SELECT 'SAVE' || i || pg_temp.pick(ARRAY['', '%', '-ÄÖ', ' now'], i), 1 + i % 50,
       tstzrange('2025-01-01 00:00:00+00'::timestamptz + i * interval '1 day', CASE WHEN i % 5 > 0 THEN 'infinity'::timestamptz END, '[)'),
       i % 30
FROM generate_series(1, pg_temp.n(2000)) AS i;

INSERT INTO sales.orders (placed_at, customer_id, status, total, coupon, ship_to, updated_at)
SELECT placed_at, 1 + i * 11 % pg_temp.n(40000),
       (ARRAY['new', 'paid', 'packed', 'shipped', 'delivered', 'delivered', 'returned', 'cancelled'])[1 + i % 8]::sales.order_status,
       (i * 41 % 90000) / 100.0,
       CASE WHEN i % 37 = 0 THEN 'SAVE' END,
       CASE WHEN i % 5 = 0 THEN ROW('Lager "West" ' || i % 70, 'Wien', NULL, 'AT')::public.postal_address END,
       placed_at + interval '3 days'
FROM (
    SELECT i, '2023-10-01 00:00:00+00'::timestamptz + i * (interval '27 months' / pg_temp.n(160000)) AS placed_at
    FROM generate_series(1, pg_temp.n(160000)) AS i
) AS made;

INSERT INTO sales.order_items (order_id, placed_at, line, product_id, quantity, price)
SELECT o.id, o.placed_at, k, 1 + (o.id * 7 + k * 131) % pg_temp.n(8000), 1 + (o.id + k) % 5, (o.id * 37 % 20000) / 100.0
FROM sales.orders AS o, generate_series(1, 4) AS k
WHERE k <= 1 + o.id % 4;

INSERT INTO sales.payments
SELECT pg_temp.key('payment', o.id), o.id, o.placed_at,
       (ARRAY['card', 'transfer', 'wallet', 'cash on delivery', 'customer''s gift card'])[1 + o.id % 5]::sales.payment_method,
       o.total, o.placed_at + o.id % 86400 * interval '1 second', 'REF' || o.id % 100000
FROM sales.orders AS o WHERE o.id % 8 > 0;

INSERT INTO sales.shipments (order_id, placed_at, carrier, route, pickup, weight)
SELECT o.id, o.placed_at, pg_temp.pick(ARRAY['DHL', 'UPS', 'La Poste', '顺丰'], o.id),
       CASE WHEN o.id % 3 = 0 THEN ARRAY[point(o.id % 90, 0.5), point(1.0 / 3.0, o.id % 180)] END,
       time '06:00' + o.id % 600 * interval '1 minute', (o.id % 700) / 13.0
FROM sales.orders AS o WHERE o.id % 8 > 2;

INSERT INTO sales.carts
SELECT pg_temp.key('cart', i), CASE WHEN i % 3 > 0 THEN 1 + i % pg_temp.n(40000) END,
       jsonb_build_array(jsonb_build_object('sku', 'SKU-' || i % 8000, 'n', i % 4)),
       CASE WHEN i % 2 = 0 THEN ('{"b": 1,  "a": "ü", "b": 2, "i": ' || i || '}')::json END,
       '2026-01-01 00:00:00+00'::timestamptz + i * interval '1 minute'
FROM generate_series(1, pg_temp.n(10000)) AS i;

INSERT INTO sales.invoices (order_id, placed_at, issued_on, document)
SELECT o.id, o.placed_at, o.placed_at::date + 1,
       CASE WHEN o.id % 80 = 0 AND o.id <= 12000
            THEN lo_from_bytea((500000 + o.id)::oid, decode(repeat(md5('invoice ' || o.id), 50 + (o.id % 300)::integer), 'hex')) END
FROM (SELECT id, placed_at FROM sales.orders WHERE id % 4 = 0 ORDER BY id) AS o;

INSERT INTO warehouse.shelves (aisle, position, area, label)
SELECT chr(65 + (i / 40)::integer)::"char", i % 40, box(point(i, 0), point(i + 0.5, 2)), ('08:00:2b:00:00:' || to_char(i % 90 + 10, 'FM00'))::macaddr
FROM generate_series(0, 399) AS i;

INSERT INTO warehouse.stock (product_id, shelf_id, quantity)
SELECT p, 1 + (p * 3 + k * 101) % 400, p % 60
FROM generate_series(1, pg_temp.n(8000)) AS p, generate_series(1, 2) AS k;

INSERT INTO warehouse.stock_movements (at, product_id, shelf_id, change, reason, search)
SELECT '2025-02-01 00:00:00+00'::timestamptz + i * interval '2 minutes',
       1 + i % pg_temp.n(8000), 1 + i % 400, (i % 21)::integer - 10,
       CASE WHEN i % 6 > 0 THEN pg_temp.pick(ARRAY['sale', 'return', 'stock-taking', 'Bruch'], i) END,
       CASE WHEN i % 10 = 0 THEN to_tsvector('simple', 'moved by cart ' || i % 50) END
FROM generate_series(1, pg_temp.n(150000)) AS i;

INSERT INTO warehouse.maintenance_windows (dock, period, what)
SELECT i % 6, tstzrange('2025-01-01 00:00:00+00'::timestamptz + (i / 6) * interval '1 day', '2025-01-01 03:00:00+00'::timestamptz + (i / 6) * interval '1 day'),
       pg_temp.pick(ARRAY['oil', 'door', 'inspection'], i)
FROM generate_series(1, 600) AS i;

INSERT INTO warehouse.inbound_staging (line, raw, received_at)
SELECT i, 'SKU-' || i || E';"a; b"\\N;' || i, '2025-12-01 00:00:00+00'::timestamptz
FROM generate_series(1, 200) AS i;

INSERT INTO audit.changes (at, by_user, relation, action, before, after)
SELECT '2025-03-01 00:00:00+00'::timestamptz + i * interval '1 minute', 'postgres', 'catalog.products', 'UPDATE',
       jsonb_build_object('price', i), jsonb_build_object('price', i + 1)
FROM generate_series(1, pg_temp.n(10000)) AS i;

INSERT INTO audit.deleted_coupons (code, used, at)
SELECT 'OLD' || i, i, '2025-03-01 00:00:00+00'::timestamptz FROM generate_series(1, 50) AS i;

INSERT INTO "Back Office"."Departments" ("Name", "Head", "Budget")
SELECT name, 3 * i, CASE WHEN i < 5 THEN 1e20 / i ELSE 'NaN' END
FROM unnest(ARRAY['Sales', 'Einkauf', 'IT – Betrieb', 'Geschäftsführung', 'R&D', 'Lager']) WITH ORDINALITY AS given (name, i);

INSERT INTO "Back Office"."Employees" ("Full Name", "Department", "Boss", "E-Mail", "Skills", "Salary €")
SELECT pg_temp.pick(ARRAY['Ada', 'Bo', 'Cem', 'Dörte', 'Émile'], i) || ' "the ' || i || 'th"', 1 + i % 6, nullif(i / 4, 0),
       'staff' || i || '@shop.example', ARRAY[['a' || i, 'b'], ['c', NULL]], 2000 + i * 17.31
FROM generate_series(1, 240) AS i;

INSERT INTO "Back Office"."Arbeitszeit – Größe & Co"
SELECT e, date '2025-09-01' + d, 4 + (e + d) % 5 + 0.25, CASE WHEN d % 3 > 0 THEN e * 1.5 END, CASE WHEN d % 2 = 0 THEN E'tab\there %s' END
FROM generate_series(1, 240) AS e, generate_series(0, greatest(3, pg_temp.n(60) / 4)) AS d;

INSERT INTO "Back Office"."order"
SELECT i, pg_temp.pick(ARRAY['pens', 'paper; DROP TABLE "order"', '<b>ink</b>', '=1+1', NULL], i), i % 3 = 0
FROM generate_series(1, 60) AS i;
