-- The demo shop, part 3: keys, indexes, constraints, views, triggers, rules, comments.

ALTER TABLE public.countries ADD PRIMARY KEY (code);
ALTER TABLE public.settings ADD PRIMARY KEY (key);
ALTER TABLE public.web_events ADD PRIMARY KEY (id);
ALTER TABLE catalog.brands ADD PRIMARY KEY (id);
ALTER TABLE catalog.categories ADD PRIMARY KEY (id);
ALTER TABLE catalog.products ADD PRIMARY KEY (id), ADD CONSTRAINT "one SKU each" UNIQUE (sku);
ALTER TABLE catalog.product_images ADD PRIMARY KEY (id);
ALTER TABLE catalog.price_history ADD PRIMARY KEY (product_id, valid);
ALTER TABLE catalog.related_products ADD PRIMARY KEY (product_id, related_id);
ALTER TABLE catalog.reviews ADD PRIMARY KEY (id), ADD CHECK (stars BETWEEN 1 AND 5);
ALTER TABLE sales.customers ADD PRIMARY KEY (id);
ALTER TABLE sales.coupons ADD PRIMARY KEY (code);
ALTER TABLE sales.orders ADD PRIMARY KEY (id, placed_at);
ALTER TABLE sales.order_items ADD PRIMARY KEY (order_id, line), ADD CHECK (quantity > 0);
ALTER TABLE sales.payments ADD PRIMARY KEY (id);
ALTER TABLE sales.shipments ADD PRIMARY KEY (id);
ALTER TABLE sales.carts ADD PRIMARY KEY (id);
ALTER TABLE sales.invoices ADD PRIMARY KEY (number);
ALTER TABLE warehouse.shelves ADD PRIMARY KEY (id),
    ADD CONSTRAINT shelf_place UNIQUE (aisle, position) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE warehouse.stock ADD PRIMARY KEY (product_id, shelf_id) INCLUDE (quantity);
ALTER TABLE warehouse.stock_movements ADD PRIMARY KEY (id);
-- btree_gist is an extension, so the dock is compared as a range of one number.
ALTER TABLE warehouse.maintenance_windows ADD PRIMARY KEY (id),
    ADD CONSTRAINT one_crew_per_dock EXCLUDE USING gist (int4range(dock, dock, '[]') WITH &&, period WITH &&);
ALTER TABLE warehouse.inbound_staging ADD PRIMARY KEY (line);
ALTER TABLE audit.changes ADD PRIMARY KEY (id);
ALTER TABLE audit.deleted_coupons ADD PRIMARY KEY (id);
ALTER TABLE "Back Office"."Departments" ADD PRIMARY KEY ("Id");
ALTER TABLE "Back Office"."Employees" ADD PRIMARY KEY ("Id");
ALTER TABLE "Back Office"."Arbeitszeit – Größe & Co" ADD CONSTRAINT "Schlüssel ""Tag""" PRIMARY KEY ("Employee Id", "Tag");
ALTER TABLE "Back Office"."order" ADD PRIMARY KEY ("select");

CREATE INDEX web_events_at ON public.web_events USING brin (at);
CREATE INDEX web_events_humans ON public.web_events (session) WHERE NOT bot;
CREATE INDEX products_slug ON catalog.products (catalog.slug(name));
CREATE INDEX products_tags ON catalog.products USING gin (tags);
CREATE INDEX products_attributes ON catalog.products USING gin (attributes jsonb_path_ops);
CREATE INDEX products_cheap ON catalog.products (price DESC NULLS LAST) INCLUDE (name) WHERE sold AND price < 50;
CREATE INDEX reviews_product ON catalog.reviews (product_id, stars DESC);
CREATE UNIQUE INDEX customers_email ON sales.customers (lower(email::text)) WHERE deleted_at IS NULL;
CREATE INDEX customers_city ON sales.customers (((address).city) COLLATE "C");
CREATE INDEX orders_customer ON sales.orders (customer_id, placed_at DESC);
CREATE INDEX orders_open ON sales.orders (status) WHERE status IN ('new', 'paid');
CREATE INDEX order_items_product ON sales.order_items USING hash (product_id);
CREATE INDEX payments_order ON sales.payments (order_id, placed_at);
CREATE INDEX shipments_order ON sales.shipments (order_id, placed_at);
CREATE INDEX invoices_order ON sales.invoices (order_id, placed_at);
CREATE INDEX stock_movements_search ON warehouse.stock_movements USING gin (search);
CREATE INDEX "Employees by ""Name""" ON "Back Office"."Employees" (upper("Full Name") text_pattern_ops);
CREATE UNIQUE INDEX one_head ON "Back Office"."Departments" ("Head") NULLS NOT DISTINCT;
CREATE STATISTICS sales.order_status_by_customer (dependencies, ndistinct) ON customer_id, status FROM sales.orders_2024;

ALTER TABLE catalog.brands ADD FOREIGN KEY (country) REFERENCES public.countries (code) ON UPDATE CASCADE;
ALTER TABLE catalog.categories ADD FOREIGN KEY (parent_id) REFERENCES catalog.categories (id);
ALTER TABLE catalog.products ADD FOREIGN KEY (brand_id) REFERENCES catalog.brands (id) ON DELETE SET NULL,
    ADD FOREIGN KEY (category_id) REFERENCES catalog.categories (id);
ALTER TABLE catalog.product_images ADD FOREIGN KEY (product_id) REFERENCES catalog.products (id) ON DELETE CASCADE;
ALTER TABLE catalog.price_history ADD FOREIGN KEY (product_id) REFERENCES catalog.products (id) ON DELETE CASCADE;
ALTER TABLE catalog.related_products ADD FOREIGN KEY (product_id) REFERENCES catalog.products (id) ON DELETE CASCADE,
    ADD FOREIGN KEY (related_id) REFERENCES catalog.products (id) ON DELETE CASCADE;
ALTER TABLE catalog.reviews ADD FOREIGN KEY (product_id) REFERENCES catalog.products (id) ON DELETE CASCADE;
ALTER TABLE sales.orders ADD FOREIGN KEY (customer_id) REFERENCES sales.customers (id);
ALTER TABLE sales.order_items
    ADD FOREIGN KEY (order_id, placed_at) REFERENCES sales.orders (id, placed_at) ON UPDATE CASCADE ON DELETE CASCADE,
    ADD FOREIGN KEY (product_id) REFERENCES catalog.products (id);
ALTER TABLE sales.payments
    ADD FOREIGN KEY (order_id, placed_at) REFERENCES sales.orders (id, placed_at) ON UPDATE CASCADE DEFERRABLE;
ALTER TABLE sales.shipments
    ADD FOREIGN KEY (order_id, placed_at) REFERENCES sales.orders (id, placed_at) ON UPDATE CASCADE;
ALTER TABLE sales.invoices
    ADD FOREIGN KEY (order_id, placed_at) REFERENCES sales.orders (id, placed_at) ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE sales.carts ADD FOREIGN KEY (customer_id) REFERENCES sales.customers (id) ON DELETE CASCADE;
ALTER TABLE warehouse.stock ADD FOREIGN KEY (product_id) REFERENCES catalog.products (id) ON DELETE CASCADE,
    ADD FOREIGN KEY (shelf_id) REFERENCES warehouse.shelves (id);
ALTER TABLE warehouse.stock_movements ADD FOREIGN KEY (shelf_id) REFERENCES warehouse.shelves (id) NOT VALID;
ALTER TABLE "Back Office"."Employees"
    ADD FOREIGN KEY ("Department") REFERENCES "Back Office"."Departments" ("Id") DEFERRABLE INITIALLY DEFERRED,
    ADD CONSTRAINT "has a boss" FOREIGN KEY ("Boss") REFERENCES "Back Office"."Employees" ("Id") ON DELETE SET NULL;
ALTER TABLE "Back Office"."Departments"
    ADD FOREIGN KEY ("Head") REFERENCES "Back Office"."Employees" ("Id") DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE "Back Office"."Arbeitszeit – Größe & Co"
    ADD FOREIGN KEY ("Employee Id") REFERENCES "Back Office"."Employees" ("Id") ON DELETE CASCADE;

CREATE FUNCTION sales.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END
$$;

CREATE FUNCTION audit.record() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit.changes (relation, action, before, after)
    VALUES (TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, TG_OP, to_jsonb(OLD), to_jsonb(NEW));
    RETURN NULL;
END
$$;

CREATE FUNCTION warehouse.next_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.revision := OLD.revision + 1;
    RETURN NEW;
END
$$;

CREATE TRIGGER touch BEFORE UPDATE ON sales.orders FOR EACH ROW EXECUTE FUNCTION sales.touch();
CREATE TRIGGER record AFTER UPDATE ON catalog.products FOR EACH ROW
    WHEN (OLD.price IS DISTINCT FROM NEW.price) EXECUTE FUNCTION audit.record();
CREATE TRIGGER record AFTER INSERT OR UPDATE OR DELETE ON public.settings FOR EACH ROW EXECUTE FUNCTION audit.record();
ALTER TABLE public.settings ENABLE ALWAYS TRIGGER record;
CREATE TRIGGER next_revision BEFORE UPDATE ON warehouse.stock FOR EACH ROW EXECUTE FUNCTION warehouse.next_revision();
CREATE RULE remember AS ON DELETE TO sales.coupons
    DO ALSO INSERT INTO audit.deleted_coupons (code, used) VALUES (OLD.code, OLD.used);

CREATE VIEW sales.order_totals AS
    SELECT o.id, o.placed_at, o.customer_id, o.status, sum(i.amount) AS amount, count(*) AS lines
    FROM sales.orders AS o JOIN sales.order_items AS i ON i.order_id = o.id AND i.placed_at = o.placed_at
    GROUP BY o.id, o.placed_at, o.customer_id, o.status;
CREATE VIEW sales.customer_value AS
    SELECT c.id, c.full_name, count(t.id) AS orders, coalesce(sum(t.amount), 0) AS amount
    FROM sales.customers AS c LEFT JOIN sales.order_totals AS t ON t.customer_id = c.id
    GROUP BY c.id;
CREATE VIEW public."Top 10 Kunden" WITH (security_barrier) AS
    SELECT full_name AS "Name", amount AS "Umsatz €" FROM sales.customer_value ORDER BY amount DESC, id LIMIT 10;
CREATE MATERIALIZED VIEW sales.monthly_revenue AS
    SELECT date_trunc('month', placed_at AT TIME ZONE 'UTC') AS month, status, count(*) AS orders, sum(total) AS revenue
    FROM sales.orders GROUP BY 1, 2;
CREATE UNIQUE INDEX monthly_revenue_key ON sales.monthly_revenue (month, status);
CREATE MATERIALIZED VIEW sales.best_months AS
    SELECT month, sum(revenue) AS revenue FROM sales.monthly_revenue GROUP BY month ORDER BY 2 DESC LIMIT 3;

SELECT setval('sales.invoice_number', greatest(1000000, (SELECT max(number) FROM sales.invoices)), true);

COMMENT ON DATABASE shop IS 'The demo shop: it''s made up';
COMMENT ON SCHEMA "Back Office" IS 'Names as a spreadsheet user would choose them';
COMMENT ON TABLE sales.customer_notes IS E'No key.\nOld imports; "do not" touch';
COMMENT ON TABLE "Back Office"."Arbeitszeit – Größe & Co" IS 'Größe in m², 100 % <b>sicher</b>';
COMMENT ON COLUMN "Back Office"."Arbeitszeit – Größe & Co"."Stunden (100 %)" IS 'hours at 100 %';
COMMENT ON COLUMN catalog.products.gross IS 'price with tax, computed';
COMMENT ON INDEX catalog.products_slug IS 'for pretty addresses';
COMMENT ON CONSTRAINT one_crew_per_dock ON warehouse.maintenance_windows IS 'two crews never meet';
COMMENT ON VIEW sales.order_totals IS 'one row per order';
COMMENT ON TYPE sales.order_status IS 'life of an order';
COMMENT ON FUNCTION catalog.slug(text) IS 'lower case, dashes';
COMMENT ON SEQUENCE sales.invoice_number IS 'belongs to no column';
COMMENT ON TRIGGER touch ON sales.orders IS 'keeps updated_at true';
