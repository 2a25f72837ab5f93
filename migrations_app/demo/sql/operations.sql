-- What the demo's application does to the shop: one transaction after each name, together touching every table in
-- every way. Parameters: u, v (0 up to 1), n (a large number), word, blob. {{product}} stands for the key of some
-- product, {{other product}} for that of another. None can fail by its own logic; a statement that finds no row to
-- work on changes nothing. A TRUNCATE waits for nobody for long, as in every well-behaved batch job: whoever reads the
-- table (a backup, a copy) would otherwise stop the whole application behind it.

-- name: country tax
UPDATE public.countries SET vat = 0.1 + round(%(u)s::numeric / 10, 3) WHERE code = 'DE';

-- name: country key
UPDATE public.countries SET code = CASE code WHEN 'GB' THEN 'UK' ELSE 'GB' END WHERE code IN ('GB', 'UK');

-- name: setting new
INSERT INTO public.settings (key, value) VALUES ('tmp.' || %(n)s::bigint, jsonb_build_object('word',
    %(word)s::text)) ON CONFLICT DO NOTHING;

-- name: setting change
UPDATE public.settings SET value = value || '{"seen": true}', changed_at = now() WHERE key LIKE 'setting.1%%';

-- name: setting gone
DELETE FROM public.settings WHERE key = (SELECT key FROM public.settings WHERE key LIKE 'tmp.%%' ORDER BY
    changed_at LIMIT 1);

-- name: brand new
INSERT INTO catalog.brands (name, country, founded) VALUES (%(word)s, 'FR', CASE WHEN %(u)s::float8 < 0.5 THEN
    current_date END);

-- name: brand renamed
UPDATE catalog.brands SET name = %(word)s WHERE id = {{brand}};

-- name: brand gone
DELETE FROM catalog.brands WHERE id = (SELECT max(id) FROM catalog.brands WHERE id > 120);

-- name: category new
INSERT INTO catalog.categories (parent_id, title) VALUES ({{category}}, %(word)s);

-- name: category moved
UPDATE catalog.categories SET parent_id = 10 * (1 + (%(u)s::float8 * 7)::integer), position = 1 WHERE id =
    (SELECT max(id) FROM catalog.categories WHERE id > 720);

-- name: category gone
DELETE FROM catalog.categories AS c WHERE id = (SELECT max(id) FROM catalog.categories WHERE id > 800) AND NOT
    EXISTS (SELECT FROM catalog.categories WHERE parent_id = c.id);

-- name: product new, 2 times a round
INSERT INTO catalog.products (sku, name, category_id, price, tags, attributes, size) VALUES ('N' ||
    (%(n)s::bigint %% 1000000000), %(word)s, 10, round(%(u)s::numeric * 100, 2), ARRAY['new', %(word)s],
    jsonb_build_object('word', %(word)s::text), ROW(1, 2.5, NULL)::catalog.dimensions) ON CONFLICT DO NOTHING;

-- name: product price, 3 times a round
UPDATE catalog.products SET price = round(%(v)s::numeric * 200, 2) WHERE id = {{product}};

-- name: product words
UPDATE catalog.products SET tags = array_prepend(%(word)s, tags[:5]), rating = NULL, size.height = 7.5,
    updated_at = now() WHERE id = {{product}};

-- name: product key
UPDATE catalog.products AS p SET id = DEFAULT WHERE id = (SELECT max(id) FROM catalog.products) AND NOT EXISTS
    (SELECT FROM sales.order_items WHERE product_id = p.id) AND NOT EXISTS (SELECT FROM catalog.product_images
    WHERE product_id = p.id) AND NOT EXISTS (SELECT FROM catalog.price_history WHERE product_id = p.id) AND NOT
    EXISTS (SELECT FROM catalog.related_products WHERE p.id IN (product_id, related_id)) AND NOT EXISTS (SELECT
    FROM catalog.reviews WHERE product_id = p.id) AND NOT EXISTS (SELECT FROM warehouse.stock WHERE product_id =
    p.id);

-- name: product gone
DELETE FROM catalog.products AS p WHERE id = {{product}} AND NOT EXISTS (SELECT FROM sales.order_items WHERE
    product_id = p.id);

-- name: image new
INSERT INTO catalog.product_images (product_id, file_name, content) VALUES ({{product}}, %(word)s, %(blob)s);

-- name: image renamed
UPDATE catalog.product_images SET file_name = %(word)s || id WHERE id = (SELECT max(id) FROM
    catalog.product_images);

-- name: image replaced
UPDATE catalog.product_images SET content = %(blob)s || content WHERE id = {{image}} AND length(content) < 60000;

-- name: image gone
DELETE FROM catalog.product_images WHERE id = {{image}};

-- name: price period split
WITH old AS (UPDATE catalog.price_history SET valid = daterange(lower(valid), upper(valid) + 1) WHERE product_id
    = {{product}} AND lower(valid) = date '2024-01-01' RETURNING *) SELECT count(*) FROM old;
INSERT INTO catalog.price_history VALUES ({{other product}}, daterange(current_date + (%(u)s::float8 *
    9999)::integer, NULL), 5.5) ON CONFLICT DO NOTHING;

-- name: price period gone
DELETE FROM catalog.price_history WHERE product_id = {{product}} AND upper_inf(valid);

-- name: related moved
DELETE FROM catalog.related_products WHERE (product_id, related_id) = ({{product}}, {{other product}});
UPDATE catalog.related_products SET related_id = {{other product}}, weight = 'Infinity' WHERE (product_id,
    related_id) = (SELECT product_id, related_id FROM catalog.related_products WHERE product_id = {{product}}
    ORDER BY related_id LIMIT 1);

-- name: related new and gone
INSERT INTO catalog.related_products VALUES ({{product}}, {{other product}}, -0.0) ON CONFLICT DO NOTHING;
DELETE FROM catalog.related_products WHERE product_id = {{other product}} AND weight > 150;

-- name: review new, 2 times a round
INSERT INTO catalog.reviews (product_id, author, stars, body, helpful, written_on) VALUES ({{product}},
    %(word)s, 5, repeat(%(word)s, 40), B'1010', current_date);

-- name: review edited
UPDATE catalog.reviews SET body = body || ' ', stars = 6 - stars, author = NULL WHERE id = {{review}};

-- name: review key
UPDATE catalog.reviews SET id = nextval('catalog.reviews_id_seq') WHERE id = (SELECT max(id) FROM
    catalog.reviews);

-- name: review gone
DELETE FROM catalog.reviews WHERE id = {{review}};

-- name: customer new, 2 times a round
INSERT INTO sales.customers (email, full_name, address, phones, preferences) VALUES ('c' || gen_random_uuid() ||
    '@example.org', %(word)s, ROW(%(word)s, NULL, '', 'DE')::public.postal_address, ARRAY[%(word)s, NULL],
    '[1, "two"]');

-- name: customer moved, 2 times a round
UPDATE sales.customers SET address.city = %(word)s, credit = credit - 0.01 WHERE id = {{customer}};

-- name: customer leaves
UPDATE sales.customers SET deleted_at = now(), phones = NULL, preferences = 'null' WHERE id = {{customer}};

-- name: customer gone
DELETE FROM sales.customers AS c WHERE id = (SELECT max(id) FROM sales.customers) AND NOT EXISTS (SELECT FROM
    sales.orders WHERE customer_id = c.id);

-- name: note twice
INSERT INTO sales.customer_notes SELECT {{customer}}, date_trunc('second', now()), %(word)s FROM
    generate_series(1, 2);

-- name: note changed
UPDATE sales.customer_notes SET note = note || '!' WHERE ctid = (SELECT ctid FROM sales.customer_notes OFFSET
    (%(u)s::float8 * 500)::integer LIMIT 1);

-- name: note gone
DELETE FROM sales.customer_notes WHERE ctid = (SELECT ctid FROM sales.customer_notes OFFSET (%(v)s::float8 *
    500)::integer LIMIT 1);

-- name: coupon new
INSERT INTO sales.coupons VALUES ('T' || nextval('public."Ticket №"') || %(word)s, 5, tstzrange(now(), NULL)) ON
    CONFLICT DO NOTHING;

-- name: coupon used
UPDATE sales.coupons SET used = used + 1 WHERE code = (SELECT code FROM sales.coupons WHERE code > %(word)s
    ORDER BY code LIMIT 1);

-- name: coupon key
UPDATE sales.coupons SET code = 'K' || nextval('public."Ticket №"'), valid = 'empty' WHERE code = (SELECT code
    FROM sales.coupons WHERE code LIKE 'T%%' ORDER BY code LIMIT 1);

-- name: coupon gone
DELETE FROM sales.coupons WHERE code = (SELECT code FROM sales.coupons ORDER BY used DESC, code LIMIT 1);

-- name: order new, 5 times a round
INSERT INTO sales.orders (placed_at, customer_id, total) SELECT '2025-12-31 00:00:00+00'::timestamptz -
    %(v)s::float8 * interval '800 days', {{customer}}, 0;
INSERT INTO sales.order_items (order_id, placed_at, line, product_id, quantity, price) SELECT o.id, o.placed_at,
    k, p.id, 1 + k, p.price FROM (SELECT id, placed_at FROM sales.orders ORDER BY id DESC LIMIT 1) AS o, (SELECT
    id, price FROM catalog.products WHERE id = {{product}}) AS p, generate_series(1, 3) AS k;
UPDATE sales.orders AS o SET status = 'paid', total = coalesce((SELECT sum(amount) FROM sales.order_items WHERE
    order_id = o.id), 0) WHERE id = (SELECT max(id) FROM sales.orders);
INSERT INTO sales.payments SELECT gen_random_uuid(), id, placed_at, 'wallet', total, now(), 'NEW' FROM
    sales.orders ORDER BY id DESC LIMIT 1;

-- name: order goes on, 3 times a round
UPDATE sales.orders SET status = 'shipped' WHERE id = {{order}};

-- name: order to another partition, 2 times a round
UPDATE sales.orders SET placed_at = '2023-01-01 00:00:00+00'::timestamptz + %(v)s::float8 * interval '1090 days'
    WHERE id = {{order}};

-- name: order gone, 2 times a round
CREATE TEMPORARY TABLE IF NOT EXISTS gone (id bigint) ON COMMIT DELETE ROWS;
INSERT INTO pg_temp.gone SELECT {{order}};
DELETE FROM sales.payments WHERE order_id = (SELECT id FROM pg_temp.gone);
DELETE FROM sales.shipments WHERE order_id = (SELECT id FROM pg_temp.gone);
DELETE FROM sales.invoices WHERE order_id = (SELECT id FROM pg_temp.gone);
DELETE FROM sales.orders WHERE id = (SELECT id FROM pg_temp.gone);

-- name: item changed, 2 times a round
UPDATE sales.order_items SET quantity = quantity + 1 WHERE order_id = {{order}} AND line = 1;

-- name: item key
UPDATE sales.order_items SET line = line + 100 WHERE order_id = {{order}} AND line < 100;

-- name: payment corrected
UPDATE sales.payments SET amount = amount + 0.01, paid_at = now() WHERE id = (SELECT id FROM sales.payments
    WHERE id >= gen_random_uuid() ORDER BY id LIMIT 1);

-- name: payment key
UPDATE sales.payments SET id = gen_random_uuid() WHERE id = (SELECT id FROM sales.payments WHERE id >=
    gen_random_uuid() ORDER BY id LIMIT 1);

-- name: shipment new
INSERT INTO sales.shipments (order_id, placed_at, carrier, route, pickup, weight) SELECT id, placed_at,
    %(word)s, ARRAY[point(%(u)s, %(v)s)], localtime, %(u)s FROM sales.orders WHERE id = {{order}};

-- name: shipment changed
UPDATE sales.shipments SET route = route || point(0.1, 1e-300), weight = 'NaN' WHERE id = {{shipment}};

-- name: shipment gone
DELETE FROM sales.shipments WHERE id = {{shipment}};

-- name: cart new
INSERT INTO sales.carts (customer_id, lines, saved, expires_at) VALUES ({{customer}},
    jsonb_build_array(%(word)s::text), '{"a" :  1}', 'infinity');

-- name: cart filled
UPDATE sales.carts SET lines = lines || '[null]', saved = NULL WHERE id = (SELECT id FROM sales.carts WHERE id
    >= gen_random_uuid() ORDER BY id LIMIT 1);

-- name: cart gone
DELETE FROM sales.carts WHERE id = (SELECT id FROM sales.carts WHERE id >= gen_random_uuid() ORDER BY id LIMIT
    1);

-- name: invoice new
INSERT INTO sales.invoices (order_id, placed_at, issued_on) SELECT id, placed_at, current_date FROM sales.orders
    WHERE id = {{order}};

-- name: invoice dated
UPDATE sales.invoices SET issued_on = issued_on + 1 WHERE number = {{invoice}};

-- name: invoice gone
DELETE FROM sales.invoices WHERE number = (SELECT max(number) FROM sales.invoices WHERE document IS NULL);

-- name: events, 4 times a round
INSERT INTO public.web_events (at, session, path, client, took, bot) SELECT now(), gen_random_uuid(), '/' ||
    %(word)s::text, '::1', k * interval '1 us', false FROM generate_series(1, 5) AS k;

-- name: events in bulk
UPDATE public.web_events SET took = took * 2, client = NULL WHERE id BETWEEN {{event}} AND {{event}} + 200;

-- name: events forgotten
DELETE FROM public.web_events WHERE id IN (SELECT id FROM public.web_events ORDER BY id LIMIT 7);

-- name: event key
UPDATE public.web_events SET id = DEFAULT WHERE id = (SELECT min(id) FROM public.web_events);

-- name: shelves swapped
UPDATE warehouse.shelves SET position = 40 - 1 - position WHERE aisle = (SELECT aisle FROM warehouse.shelves
    WHERE id = {{shelf}}) AND position BETWEEN 0 AND 39;

-- name: shelf keys swapped
UPDATE warehouse.shelves SET position = -position, area = NULL WHERE id = (SELECT max(id) FROM
    warehouse.shelves);

-- name: shelf new
INSERT INTO warehouse.shelves (aisle, position) SELECT 'z', coalesce(max(abs(position)), 0) + 100 FROM
    warehouse.shelves WHERE aisle = 'z';

-- name: shelf gone
DELETE FROM warehouse.shelves WHERE id = (SELECT min(id) FROM warehouse.shelves AS s WHERE aisle = 'z' AND NOT
    EXISTS (SELECT FROM warehouse.stock_movements WHERE shelf_id = s.id) AND NOT EXISTS (SELECT FROM
    warehouse.stock WHERE shelf_id = s.id));

-- name: stock counted, 3 times a round
UPDATE warehouse.stock SET quantity = quantity + 1 WHERE product_id = {{product}};

-- name: stock moved, 2 times a round
DELETE FROM warehouse.stock WHERE product_id = {{product}} AND shelf_id = {{other shelf}};
UPDATE warehouse.stock SET shelf_id = {{other shelf}} WHERE (product_id, shelf_id) = (SELECT product_id,
    shelf_id FROM warehouse.stock WHERE product_id = {{product}} ORDER BY shelf_id LIMIT 1);
INSERT INTO warehouse.stock_movements (at, product_id, shelf_id, change, reason) VALUES (now(), 1, {{shelf}},
    -1, %(word)s);

-- name: stock new
INSERT INTO warehouse.stock (product_id, shelf_id) VALUES ({{product}}, {{shelf}}) ON CONFLICT (product_id,
    shelf_id) DO UPDATE SET quantity = 0;

-- name: movement corrected
UPDATE warehouse.stock_movements SET search = to_tsvector('simple', %(word)s), reason = NULL WHERE id =
    {{movement}};

-- name: movement gone
DELETE FROM warehouse.stock_movements WHERE id = {{movement}};

-- name: window new
INSERT INTO warehouse.maintenance_windows (dock, period, what) SELECT 1, tstzrange(max(upper(period)),
    max(upper(period)) + interval '1 hour'), %(word)s FROM warehouse.maintenance_windows WHERE dock = 1;

-- name: window replaced
WITH old AS (DELETE FROM warehouse.maintenance_windows WHERE id = (SELECT max(id) FROM
    warehouse.maintenance_windows WHERE dock = 2) RETURNING *) SELECT count(*) FROM old;
INSERT INTO warehouse.maintenance_windows (dock, period) SELECT 2, tstzrange(max(upper(period)),
    max(upper(period)) + interval '5 hours') FROM warehouse.maintenance_windows WHERE dock = 2;
UPDATE warehouse.maintenance_windows SET period = tstzrange(lower(period), upper(period) - interval '1 hour')
    WHERE id = (SELECT max(id) FROM warehouse.maintenance_windows WHERE dock = 2);

-- name: staging filled, 2 times a round
INSERT INTO warehouse.inbound_staging (line, raw) SELECT coalesce((SELECT max(line) FROM
    warehouse.inbound_staging), 0) + k, %(word)s || E'\t\\N' || k FROM generate_series(1, 20) AS k;

-- name: staging cleared
SET LOCAL lock_timeout = '250ms';
TRUNCATE warehouse.inbound_staging;
INSERT INTO warehouse.inbound_staging (line, raw) VALUES (1, %(word)s);

-- name: audit trimmed
DELETE FROM audit.changes WHERE id IN (SELECT id FROM audit.changes ORDER BY id LIMIT 2);

-- name: audit noted
UPDATE audit.changes SET after = NULL WHERE id = (SELECT max(id) FROM audit.changes);

-- name: old coupon key
UPDATE audit.deleted_coupons SET id = DEFAULT WHERE id = (SELECT min(id) FROM audit.deleted_coupons);

-- name: department with its head
INSERT INTO "Back Office"."Departments" ("Name", "Head") SELECT %(word)s, max("Id") + 1000000 FROM
    "Back Office"."Employees";
INSERT INTO "Back Office"."Employees" ("Full Name", "Department", "Skills") SELECT %(word)s, max("Id"), '{}'
    FROM "Back Office"."Departments";
UPDATE "Back Office"."Departments" SET "Head" = (SELECT max("Id") FROM "Back Office"."Employees") WHERE "Id" =
    (SELECT max("Id") FROM "Back Office"."Departments");

-- name: department gone
DELETE FROM "Back Office"."Departments" WHERE "Id" = (SELECT max("Id") FROM "Back Office"."Departments" WHERE
    "Id" > 6);
DELETE FROM "Back Office"."Employees" AS e WHERE NOT EXISTS (SELECT FROM "Back Office"."Departments" WHERE "Id"
    = e."Department");

-- name: employee promoted
UPDATE "Back Office"."Employees" SET "Boss" = {{other employee}}, "Salary €" = "Salary €" + 1 WHERE "Id" =
    {{employee}};

-- name: hours booked, 2 times a round
INSERT INTO "Back Office"."Arbeitszeit – Größe & Co" VALUES ({{employee}}, current_date - (%(v)s::float8 *
    30)::integer, 8, NULL, %(word)s) ON CONFLICT ("Employee Id", "Tag") DO UPDATE SET "Stunden (100 %%)" = 7.75;

-- name: hours key
UPDATE "Back Office"."Arbeitszeit – Größe & Co" SET "Tag" = "Tag" + 20000, "价格" = -0.5 WHERE "Employee Id" =
    {{employee}} AND "Tag" < date '2040-01-01';

-- name: hours gone
DELETE FROM "Back Office"."Arbeitszeit – Größe & Co" WHERE "Employee Id" = {{employee}} AND "Tag" > date
    '2070-01-01';

-- name: order form
INSERT INTO "Back Office"."order" VALUES (%(n)s::bigint %% 1000000, %(word)s, NULL) ON CONFLICT ("select") DO
    UPDATE SET "table" = true;
UPDATE "Back Office"."order" SET "select" = -"select" - 2000000 WHERE "select" = (SELECT max("select") FROM
    "Back Office"."order");
DELETE FROM "Back Office"."order" WHERE "select" = (SELECT min("select") FROM "Back Office"."order" WHERE
    "select" < -2000100);

-- name: savepoints, 2 times a round
UPDATE catalog.reviews SET body = 'kept' WHERE id = {{review}};
SAVEPOINT first;
SET LOCAL lock_timeout = '250ms';
TRUNCATE warehouse.inbound_staging;
INSERT INTO audit.deleted_coupons (code) VALUES ('never seen');
SAVEPOINT second;
DELETE FROM warehouse.stock WHERE product_id = {{product}};
ROLLBACK TO SAVEPOINT first;
INSERT INTO audit.deleted_coupons (code) VALUES ('seen ' || %(word)s::text);
RELEASE SAVEPOINT first;

-- name: one key again and again
INSERT INTO public.settings (key) VALUES ('again') ON CONFLICT (key) DO UPDATE SET value = '1';
DELETE FROM public.settings WHERE key = 'again';
INSERT INTO public.settings (key, value) VALUES ('again', '2');
UPDATE public.settings SET value = to_jsonb(1 + (value #>> '{}')::integer) WHERE key = 'again';
UPDATE public.settings SET value = to_jsonb(1 + (value #>> '{}')::integer) WHERE key = 'again';
UPDATE public.settings SET value = to_jsonb(1 + (value #>> '{}')::integer) WHERE key = 'again';
UPDATE public.settings SET value = to_jsonb(1 + (value #>> '{}')::integer) WHERE key = 'again';
UPDATE public.settings SET value = to_jsonb(1 + (value #>> '{}')::integer) WHERE key = 'again';
UPDATE public.settings SET value = to_jsonb(1 + (value #>> '{}')::integer) WHERE key = 'again';
UPDATE public.settings SET value = to_jsonb(1 + (value #>> '{}')::integer) WHERE key = 'again';
UPDATE public.settings SET value = to_jsonb(1 + (value #>> '{}')::integer) WHERE key = 'again';
UPDATE public.settings SET key = 'again and again' WHERE key = 'again' AND NOT EXISTS (SELECT FROM
    public.settings WHERE key = 'again and again');
DELETE FROM public.settings WHERE key = 'again and again';

-- name: given up, 2 times a round, rolled back
UPDATE sales.customers SET credit = 0 WHERE id < 50;
DELETE FROM public.settings WHERE key LIKE 'setting.%%';
INSERT INTO sales.invoices (order_id, placed_at, issued_on) SELECT id, placed_at, current_date FROM sales.orders
    LIMIT 1;

-- name: document new, large object
UPDATE sales.invoices SET document = lo_from_bytea(0, %(blob)s)
    WHERE number = (SELECT max(number) FROM sales.invoices WHERE document IS NULL);

-- name: document changed, large object
SELECT lo_put(document, 100, %(blob)s) FROM sales.invoices
    WHERE number = (SELECT min(number) FROM sales.invoices WHERE document IS NOT NULL);
