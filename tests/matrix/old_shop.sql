-- A small shop that every server since 9.3 understands, with one of everything that moving it can stumble over.
CREATE SCHEMA "Odd ""one""";
CREATE SCHEMA stock;
CREATE TYPE stock.mood AS ENUM ('sad', 'ok', 'it''s "fine"');
CREATE TYPE stock.size AS (width int, height numeric(10,2), label text);
CREATE TYPE stock."we[ird" AS ENUM ('a', 'b]:c');
CREATE DOMAIN stock.positive AS int CHECK (VALUE > 0);
CREATE SEQUENCE stock.loose INCREMENT BY -5 MINVALUE -1000000 MAXVALUE 100 START 100 CACHE 3 CYCLE;

CREATE TABLE stock.customer (
  id serial PRIMARY KEY, name varchar(80) NOT NULL, mail text UNIQUE, born date, note text, mood stock.mood DEFAULT 'ok',
  created timestamptz NOT NULL DEFAULT now());
CREATE TABLE stock.orders (
  id bigserial PRIMARY KEY, customer_id int NOT NULL REFERENCES stock.customer ON DELETE CASCADE, total numeric(12,2) NOT NULL CHECK (total >= 0),
  placed timestamp NOT NULL DEFAULT now(), state char(3) NOT NULL DEFAULT 'new', items int[]);
CREATE INDEX orders_by_customer ON stock.orders (customer_id, placed DESC) WHERE total > 1;
CREATE TABLE stock.typed (
  id int PRIMARY KEY, b boolean, c "char", i2 int2, i8 int8, n numeric, f4 float4, f8 float8, m money, t text, vc varchar(20), bp char(5),
  by bytea, ts timestamp, tz timestamptz, d date, ti time, tt timetz, iv interval, bi bit(5), vb bit varying(9), u uuid, ip inet, ma macaddr,
  pt point, bx box, ci circle, js json, tsv tsvector, tsq tsquery, r int4range, tr tstzrange, a text[], aa int[][], e stock.mood,
  ea stock.mood[], w stock."we[ird"[], s stock.size, sa stock.size[], p stock.positive, o oid, fa float8[]);
CREATE TABLE stock.big (id int PRIMARY KEY, small int, big text, bytes bytea);
CREATE TABLE stock.keyless (a int, b text, f float8, j json);
CREATE TABLE stock.by_index (code text NOT NULL, more int, v text);
CREATE UNIQUE INDEX by_index_code ON stock.by_index (code);
CREATE TABLE stock.emptied (id serial PRIMARY KEY, v text);
CREATE UNLOGGED TABLE stock.scratch (id int PRIMARY KEY, v text);
CREATE TABLE stock.animal (id int PRIMARY KEY, name text);
CREATE TABLE stock.dog (breed text, PRIMARY KEY (id)) INHERITS (stock.animal);
CREATE TABLE "Odd ""one"""."Table, with [odd]: ""name""" ("id" int, "col]:[ ""x""" text, "select" text, "a b" int, PRIMARY KEY (id, "a b"));
CREATE TABLE stock.dropped_columns (a int, gone text, id int PRIMARY KEY, b text);
ALTER TABLE stock.dropped_columns DROP COLUMN gone;
CREATE TABLE stock.nothing ();

CREATE FUNCTION stock.touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.note := coalesce(NEW.note, '') || '.'; RETURN NEW; END$$;
CREATE TRIGGER customer_touch BEFORE UPDATE ON stock.customer FOR EACH ROW EXECUTE PROCEDURE stock.touch();
CREATE VIEW stock.spent AS SELECT customer_id, sum(total) AS total FROM stock.orders GROUP BY 1;
CREATE MATERIALIZED VIEW stock.spent_kept AS SELECT * FROM stock.spent;
CREATE RULE keep_animal AS ON DELETE TO stock.animal WHERE OLD.id = 1 DO INSTEAD NOTHING;
COMMENT ON TABLE stock.customer IS 'who buys';

INSERT INTO stock.customer (name, mail, born, note)
SELECT 'Nämé ' || g, 'c' || g || '@example.com', date '1970-01-01' + g, CASE WHEN g % 7 = 0 THEN NULL ELSE E'line\nbreak ''q'' \\ ' || g END
  FROM generate_series(1, 300) g;
INSERT INTO stock.orders (customer_id, total, items)
SELECT 1 + g % 300, g * 1.01, ARRAY[g, NULL, g + 1] FROM generate_series(1, 3000) g;
INSERT INTO stock.typed (id) VALUES (0);
INSERT INTO stock.typed VALUES (1, true, 'x', -32768, 9223372036854775807, 'NaN', 0.1, 0.1::float8 + 0.2, '12.34', E'it''s\n"q" \\ \t', 'v', 'ab',
  '\x00ff27', '2020-01-02 03:04:05.678901', '2020-01-02 03:04:05.678901+02', '0044-03-15 BC', '24:00', '03:04:05+05:30', '1 year -2 mons 3 days 04:05:06.7',
  B'10101', B'101', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '10.1.2.3/24', '08:00:2b:01:02:03', '(0.1,2)', '(1,1),(0,0)', '<(0,0),2>', '{"a": [1, null, "x"]}',
  'fat:2 cat:3A', 'fat & !rat', '[1,5)', '[2020-01-01 00:00+00,infinity)', '{"a","b c",NULL,"null","q\"\\"}', '{{1,2},{3,4}}', 'it''s "fine"',
  '{sad,"it''s \"fine\""}', '{a,"b]:c"}', '(3,4.50,"a b")', '{"(1,2.00,x)",NULL}', 7, 4294967295, '{0.1,1e300,NaN,-Infinity,5e-324}');
INSERT INTO stock.typed (id, f4, f8, n, t, vc, a) SELECT 100 + g, g / 7.0, g / 3.0, g / 9.0, CASE g % 4 WHEN 0 THEN 'null' WHEN 1 THEN NULL WHEN 2 THEN '' ELSE 'unchanged-toast-datum' END, '', '{}' FROM generate_series(1, 200) g;
INSERT INTO stock.big SELECT g, g, (SELECT string_agg(md5((g * i)::text), '') FROM generate_series(1, 400) i), decode((SELECT string_agg(md5((g * i)::text), '') FROM generate_series(1, 200) i), 'hex') FROM generate_series(1, 60) g;
INSERT INTO stock.keyless SELECT g % 5, CASE WHEN g % 3 = 0 THEN NULL ELSE 'v' || g % 11 END, g / 7.0, '{"k": 1}' FROM generate_series(1, 200) g;
INSERT INTO stock.by_index SELECT 'code ' || g, g, 'v' FROM generate_series(1, 100) g;
INSERT INTO stock.emptied (v) SELECT 'v' || g FROM generate_series(1, 500) g;
INSERT INTO stock.scratch SELECT g, 's' FROM generate_series(1, 10) g;
INSERT INTO stock.animal VALUES (1, 'cat'), (2, 'cow');
INSERT INTO stock.dog VALUES (3, 'rex', 'pug');
INSERT INTO "Odd ""one"""."Table, with [odd]: ""name""" VALUES (1, ']:''', 'x', 1), (2, NULL, 'select', 2);
INSERT INTO stock.dropped_columns SELECT g, g, 'b' FROM generate_series(1, 20) g;
SELECT lo_create(5000 + g) FROM generate_series(1, 3) g;
SELECT lo_close(fd), lowrite(fd, decode(repeat('00ff', 100000), 'hex')) FROM (SELECT lo_open(5001, 131072) AS fd OFFSET 0) f WHERE false;
SELECT nextval('stock.loose'), nextval('stock.loose');
REFRESH MATERIALIZED VIEW stock.spent_kept;
