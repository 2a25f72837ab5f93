-- One of each kind of object that a migration can stumble over. A piece begins with `-- piece: name`, perhaps with
-- `; from 11` (the first PostgreSQL that has it) or `; alone` (its changes begin and end transactions themselves).
-- What follows `-- changes` is one transaction of the application, again and again while the sync runs: %(i)s grows
-- by one each time, %(r)s is a random number below 1000, percent signs are doubled. Types, names and encodings stand
-- in torture.py, which makes them out of lists.

-- piece: D3 large values, left alone by updates
CREATE TABLE public.big (id int PRIMARY KEY, t text, b bytea, n int NOT NULL DEFAULT 0);
ALTER TABLE public.big ALTER b SET STORAGE EXTERNAL;
INSERT INTO public.big SELECT g, repeat(md5(g::text), 60000 * g), decode(repeat(md5((g + 7)::text), 40000 * g), 'hex') FROM generate_series(1, 3) g;
CREATE TABLE public.big_full (id int, t text, n int NOT NULL DEFAULT 0);
ALTER TABLE public.big_full ALTER t SET STORAGE EXTERNAL;
ALTER TABLE public.big_full REPLICA IDENTITY FULL;
INSERT INTO public.big_full SELECT g, repeat(md5(g::text), 5000 * g) FROM generate_series(1, 3) g;
-- changes
UPDATE public.big SET n = n + 1 WHERE id = 1 + %(r)s %% 3;
UPDATE public.big_full SET n = n + 1 WHERE id = 1 + %(r)s %% 3;
UPDATE public.big SET t = t || %(i)s WHERE id = 1;

-- piece: D4 sixteen hundred columns
DO $$ BEGIN EXECUTE 'CREATE TABLE public.wide (' || (SELECT string_agg('c' || g || ' smallint', ', ') FROM generate_series(1, 1599) g) || ', id int PRIMARY KEY)'; END $$;
INSERT INTO public.wide (id, c1, c2, c1599) VALUES (1, 1, NULL, 3), (2, 4, 5, NULL);
-- changes
UPDATE public.wide SET c1 = %(r)s, c800 = %(r)s, c1599 = NULL WHERE id = 1;
INSERT INTO public.wide (id, c1500) VALUES (1000 + %(i)s, %(r)s);

-- piece: D4 most columns dropped
DO $$ BEGIN EXECUTE 'CREATE TABLE public.worn (' || (SELECT string_agg('c' || g || ' smallint', ', ') FROM generate_series(1, 1200) g) || ')'; END $$;
DO $$ BEGIN EXECUTE 'ALTER TABLE public.worn ' || (SELECT string_agg('DROP COLUMN c' || g, ', ') FROM generate_series(1, 1195) g); END $$;
ALTER TABLE public.worn ADD id serial PRIMARY KEY, ADD late text DEFAULT 'late';
INSERT INTO public.worn (c1196, c1200) SELECT g, -g FROM generate_series(1, 50) g;
-- changes
INSERT INTO public.worn (c1197) VALUES (%(r)s);
UPDATE public.worn SET c1200 = %(r)s, late = NULL WHERE id = 1 + %(r)s %% 50;
DELETE FROM public.worn WHERE id = 60 + %(r)s %% 20;

-- piece: D4 no column, and a column called blank
CREATE TABLE public.nothing ();
INSERT INTO public.nothing DEFAULT VALUES;
INSERT INTO public.nothing DEFAULT VALUES;
CREATE TABLE public." " (" " text PRIMARY KEY);
INSERT INTO public." " VALUES (' '), ('');
-- changes
INSERT INTO public.nothing DEFAULT VALUES;
INSERT INTO public." " VALUES (repeat(' ', 2 + %(i)s));

-- piece: D5 forty indexes and four levels of inheritance
CREATE TABLE public.indexed (id int PRIMARY KEY, a int, b text);
DO $$ BEGIN FOR g IN 1..40 LOOP EXECUTE format('CREATE INDEX indexed_%s ON public.indexed (a, (a + %s)) WHERE a > %s', g, g, g); END LOOP; END $$;
INSERT INTO public.indexed SELECT g, g, md5(g::text) FROM generate_series(1, 500) g;
CREATE TABLE public.level_1 (id int PRIMARY KEY, a text);
CREATE TABLE public.level_2 (b text) INHERITS (public.level_1);
CREATE TABLE public.level_3 (PRIMARY KEY (id)) INHERITS (public.level_2);
CREATE TABLE public.level_4 (a text, c text, PRIMARY KEY (id)) INHERITS (public.level_3);
ALTER TABLE public.level_2 ADD PRIMARY KEY (id);
INSERT INTO public.level_1 VALUES (1, 'only here');
INSERT INTO public.level_2 VALUES (1, 'two', 'b');
INSERT INTO public.level_4 VALUES (1, 'four', 'b', 'c');
-- changes
UPDATE public.indexed SET a = %(r)s WHERE id = 1 + %(r)s %% 500;
INSERT INTO public.level_4 VALUES (%(i)s + 1, 'more', NULL, 'c');
UPDATE public.level_1 SET a = 'all of them ' || %(r)s;
UPDATE ONLY public.level_1 SET a = 'only the top';
DELETE FROM public.level_1 WHERE id = %(i)s - 5 AND id > 10;

-- piece: D6 range and list partitions; from 10
CREATE TABLE public.tree (id int NOT NULL, kind text NOT NULL, at date NOT NULL, v text) PARTITION BY LIST (kind);
CREATE TABLE public.tree_a PARTITION OF public.tree FOR VALUES IN ('a') PARTITION BY RANGE (at);
CREATE TABLE public.tree_a_2020 PARTITION OF public.tree_a (PRIMARY KEY (id)) FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE public.tree_a_2021 PARTITION OF public.tree_a (PRIMARY KEY (id)) FOR VALUES FROM ('2021-01-01') TO (MAXVALUE);
CREATE TABLE public.tree_b (v text, at date NOT NULL, gone int, kind text NOT NULL, id int NOT NULL PRIMARY KEY);
ALTER TABLE public.tree_b DROP COLUMN gone;
ALTER TABLE public.tree ATTACH PARTITION public.tree_b FOR VALUES IN ('b', NULL);
INSERT INTO public.tree SELECT g, CASE WHEN g % 3 = 0 THEN 'b' ELSE 'a' END, date '2020-06-01' + g, 'row ' || g FROM generate_series(1, 600) g;
-- changes
INSERT INTO public.tree VALUES (10000 + %(i)s, 'b', '2020-02-02', 'new'), (10000 + %(i)s, 'a', '2020-02-02', 'new');
UPDATE public.tree SET v = 'changed ' || %(r)s WHERE id = 1 + %(r)s %% 600;
DELETE FROM public.tree WHERE id = 601 - (1 + %(r)s %% 600) AND kind = 'b';

-- piece: D6 hash and default partitions, rows that move; from 11
CREATE TABLE public.hashed (id int PRIMARY KEY, v text) PARTITION BY HASH (id);
CREATE TABLE public.hashed_0 PARTITION OF public.hashed FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE public.hashed_1 PARTITION OF public.hashed FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE public.hashed_2 (v text, id int NOT NULL);
ALTER TABLE public.hashed ATTACH PARTITION public.hashed_2 FOR VALUES WITH (MODULUS 3, REMAINDER 2);
INSERT INTO public.hashed SELECT g, md5(g::text) FROM generate_series(1, 300) g;
CREATE TABLE public.moving (id int, place int, v text, PRIMARY KEY (id, place)) PARTITION BY RANGE (place);
CREATE TABLE public.moving_low PARTITION OF public.moving FOR VALUES FROM (0) TO (100);
CREATE TABLE public.moving_else PARTITION OF public.moving DEFAULT;
CREATE INDEX moving_v ON public.moving (v);
CREATE UNIQUE INDEX moving_u ON public.moving (place, id, v);
INSERT INTO public.moving SELECT g, g % 200, 'm' FROM generate_series(1, 400) g;
-- changes
UPDATE public.moving SET place = (place + 90) %% 200 WHERE id = 1 + %(r)s %% 400;
UPDATE public.hashed SET id = 100000 + %(i)s WHERE id = 1 + %(r)s %% 300;
INSERT INTO public.hashed VALUES (200000 + %(i)s, 'new');
DELETE FROM public.hashed WHERE id = 200000 + %(i)s - 4;

-- piece: D6 a tree whose columns lie otherwise in its parts, with foreign keys to it; from 12
CREATE TABLE public.parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE public.parts_1 (v text, id int NOT NULL);
ALTER TABLE public.parts ATTACH PARTITION public.parts_1 FOR VALUES FROM (MINVALUE) TO (100);
CREATE TABLE public.parts_2 PARTITION OF public.parts FOR VALUES FROM (100) TO (MAXVALUE);
INSERT INTO public.parts SELECT g, 'p' || g FROM generate_series(1, 200) g;
CREATE TABLE public.refers (id int PRIMARY KEY, part int REFERENCES public.parts ON UPDATE CASCADE ON DELETE SET NULL);
INSERT INTO public.refers SELECT g, 1 + g % 200 FROM generate_series(1, 300) g;
-- changes
UPDATE public.parts SET id = 1000 + %(i)s WHERE id = (SELECT min(id) FROM public.parts WHERE id > 150);
DELETE FROM public.parts WHERE id = 1 + %(r)s %% 90;

-- piece: D6 five levels of partitions; from 10
CREATE TABLE public.deep (a int NOT NULL, b text NOT NULL, c int NOT NULL, d text NOT NULL, e int NOT NULL, v text) PARTITION BY RANGE (a);
CREATE TABLE public.deep_1 PARTITION OF public.deep FOR VALUES FROM (0) TO (1000000) PARTITION BY LIST (b);
CREATE TABLE public.deep_2 (v text, e int NOT NULL, d text NOT NULL, c int NOT NULL, b text NOT NULL, a int NOT NULL, PRIMARY KEY (a, e));
ALTER TABLE public.deep ATTACH PARTITION public.deep_2 FOR VALUES FROM (1000000) TO (MAXVALUE);
CREATE TABLE public.deep_1_x PARTITION OF public.deep_1 FOR VALUES IN ('x', 'y') PARTITION BY RANGE (c);
CREATE TABLE public.deep_1_x_1 PARTITION OF public.deep_1_x FOR VALUES FROM (MINVALUE) TO (10) PARTITION BY LIST (d);
CREATE TABLE public.deep_1_x_1_d (e int NOT NULL, gone int, v text, d text NOT NULL, a int NOT NULL, b text NOT NULL, c int NOT NULL) PARTITION BY RANGE (e);
ALTER TABLE public.deep_1_x_1_d DROP COLUMN gone;
ALTER TABLE public.deep_1_x_1 ATTACH PARTITION public.deep_1_x_1_d FOR VALUES IN ('d', 'e');
CREATE TABLE public.deep_1_x_1_d_1 PARTITION OF public.deep_1_x_1_d (PRIMARY KEY (a, e)) FOR VALUES FROM (0) TO (50);
CREATE TABLE public.deep_1_x_1_d_2 PARTITION OF public.deep_1_x_1_d (PRIMARY KEY (a, e)) FOR VALUES FROM (50) TO (MAXVALUE);
INSERT INTO public.deep SELECT g, CASE WHEN g % 2 = 0 THEN 'x' ELSE 'y' END, g % 10, CASE WHEN g % 3 = 0 THEN 'd' ELSE 'e' END, g % 100, 'deep ' || g FROM generate_series(1, 300) g;
INSERT INTO public.deep VALUES (1000001, 'z', 1, 'z', 1, 'shallow');
-- changes
INSERT INTO public.deep VALUES (1000 + %(i)s, 'x', 1, 'd', %(r)s %% 100, 'new');
UPDATE public.deep SET v = v || '.' WHERE a = 1 + %(r)s %% 300;
DELETE FROM public.deep WHERE a = 1000 + %(i)s - 3;

-- piece: D6 a partition on another server; from 10
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER nowhere TYPE 'a "type"' VERSION '1' FOREIGN DATA WRAPPER nothing OPTIONS (host 'it''s');
CREATE USER MAPPING FOR torture_owner SERVER nowhere OPTIONS ("user" 'o''wner');
CREATE USER MAPPING FOR PUBLIC SERVER nowhere;
CREATE TABLE public.near_and_far (id int NOT NULL, place text NOT NULL) PARTITION BY LIST (place);
CREATE TABLE public.near_part PARTITION OF public.near_and_far (PRIMARY KEY (id)) FOR VALUES IN ('near');
CREATE FOREIGN TABLE public.far_part PARTITION OF public.near_and_far FOR VALUES IN ('far') SERVER nowhere OPTIONS (name 'far');
INSERT INTO public.near_part SELECT g, 'near' FROM generate_series(1, 40) g;
-- changes
INSERT INTO public.near_part VALUES (100 + %(i)s, 'near');
UPDATE public.near_part SET id = id + 100000 WHERE id = 1 + %(r)s %% 40;

-- piece: D6 children of two parents
CREATE TABLE public.left_parent (id int PRIMARY KEY, a text NOT NULL, same text DEFAULT 'left');
CREATE TABLE public.right_parent (id int PRIMARY KEY, b text, same text DEFAULT 'left');
CREATE TABLE public.child_of_both (c text, b text DEFAULT 'own', PRIMARY KEY (id)) INHERITS (public.left_parent, public.right_parent);
CREATE TABLE public.adopted (id int PRIMARY KEY, a text NOT NULL, same text, c text);
ALTER TABLE public.adopted INHERIT public.left_parent;
INSERT INTO public.left_parent VALUES (1, 'left alone');
INSERT INTO public.right_parent VALUES (1, 'right alone');
INSERT INTO public.child_of_both (id, a, c) SELECT g, 'a', 'c' || g FROM generate_series(2, 20) g;
INSERT INTO public.adopted VALUES (1, 'a', 's', 'c');
-- changes
UPDATE public.left_parent SET a = 'all ' || %(r)s WHERE id < 5;
UPDATE ONLY public.right_parent SET b = 'only ' || %(r)s;
INSERT INTO public.child_of_both (id, a) VALUES (100 + %(i)s, 'new');

-- piece: D8 numbers as keys
CREATE TABLE public.number_keys (k numeric PRIMARY KEY, f float8);
INSERT INTO public.number_keys VALUES (1.10, -0.0), ('NaN', 'NaN'), (0.5e-30, 5e-324), (-3, '-Infinity');
-- changes
UPDATE public.number_keys SET f = 0.1 + %(r)s / 7.0 WHERE k = 1.1;
UPDATE public.number_keys SET f = - f WHERE k = 'NaN' OR k = -3;
INSERT INTO public.number_keys VALUES (%(i)s + 100.00, 1 / 3.0::float8);

-- piece: D12 an enum in another order than it was made
CREATE TYPE public.mood AS ENUM ('ok');
ALTER TYPE public.mood ADD VALUE 'sad' BEFORE 'ok';
ALTER TYPE public.mood ADD VALUE 'it''s "fine", \no' AFTER 'sad';
CREATE TABLE public.moods (id int PRIMARY KEY, m public.mood NOT NULL DEFAULT 'ok', many public.mood[]);
CREATE INDEX moods_m ON public.moods (m) WHERE m > 'sad';
INSERT INTO public.moods VALUES (1, 'sad', '{ok,sad}'), (2, 'it''s "fine", \no', NULL), (3, DEFAULT, ARRAY['it''s "fine", \no']::public.mood[]);
-- changes
UPDATE public.moods SET m = CASE m WHEN 'ok' THEN 'sad' ELSE 'ok' END::public.mood, many = many || m WHERE id = 1 + %(r)s %% 3 AND coalesce(cardinality(many), 0) < 50;

-- piece: D12 a collation that finds unlike texts equal; from 12
CREATE COLLATION public.careless (provider = icu, locale = 'und-u-ks-level1', deterministic = false);
CREATE TABLE public.careless_words (w text COLLATE public.careless PRIMARY KEY, n int);
INSERT INTO public.careless_words VALUES ('Äpfel', 1), ('birne', 2), ('ÇA', 3);
-- changes
UPDATE public.careless_words SET w = CASE w WHEN 'birne' COLLATE "C" THEN 'BIRNE' ELSE 'birne' END, n = n + 1 WHERE w = 'Birne';
UPDATE public.careless_words SET n = %(r)s WHERE w = 'apfel';

-- piece: D12 a collation of ICU; from 10
CREATE COLLATION public.german (provider = icu, locale = 'de-u-co-phonebk');
CREATE TABLE public.german_words (w text COLLATE public.german PRIMARY KEY);
CREATE INDEX german_words_c ON public.german_words (w COLLATE "C");
INSERT INTO public.german_words SELECT unnest(ARRAY['Äpfel', 'Apfel', 'zebra', 'Öl', 'ß']);
-- changes
INSERT INTO public.german_words VALUES ('Ü' || %(i)s);

-- piece: D12 names of things of users as values
CREATE FUNCTION public.pointed_at(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
CREATE TYPE public."pointed At" AS ENUM ('x');
CREATE TABLE public."Pointing" (id int PRIMARY KEY, c regclass, p regproc, f regprocedure, t regtype, many regclass[]);
INSERT INTO public."Pointing" VALUES (1, 'public."Pointing"', 'public.pointed_at', 'public.pointed_at(int)', 'public."pointed At"[]', '{pg_class,public.moods}');
INSERT INTO public."Pointing" VALUES (2, 'pg_catalog.pg_class', NULL, 'pg_catalog.abs(int)', 'bigint', NULL), (3, 0, 0, 0, 0, '{}');
-- changes
UPDATE public."Pointing" SET c = CASE WHEN c = 'public.moods'::regclass THEN 'public."Pointing"' ELSE 'public.moods' END::regclass, t = 'public.mood' WHERE id = 1 + %(r)s %% 3;

-- piece: D12 names of roles and schemas as values; from 9.5
CREATE TABLE public.pointing_at_roles (id int PRIMARY KEY, r regrole, n regnamespace);
INSERT INTO public.pointing_at_roles VALUES (1, 'torture_owner', 'public'), (2, '"torture ""reader"', NULL);
-- changes
UPDATE public.pointing_at_roles SET n = 'types', r = '"torture ""reader"' WHERE id = 1 + %(r)s %% 2;

-- piece: D13 a base type of its own
CREATE TYPE public.amount;
CREATE FUNCTION public.amount_in(cstring) RETURNS public.amount LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION public.amount_out(public.amount) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE TYPE public.amount (INPUT = public.amount_in, OUTPUT = public.amount_out, LIKE = int4, DEFAULT = '7', CATEGORY = 'Q', DELIMITER = ';');
COMMENT ON TYPE public.amount IS 'an amount';
CREATE TABLE public.amounts (id int PRIMARY KEY, a public.amount, many public.amount[]);
INSERT INTO public.amounts VALUES (1, '-5', '{1;NULL;3}'), (2, NULL, NULL), (3, DEFAULT, '{}');
-- changes
UPDATE public.amounts SET a = %(r)s::text::public.amount, many = many || '9'::public.amount WHERE id = 1 + %(r)s %% 3 AND coalesce(cardinality(many), 0) < 50;
INSERT INTO public.amounts VALUES (3 + %(i)s, '1');

-- piece: D13 domains over domains, composites with NULL fields
CREATE DOMAIN public.positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN public.small AS public.positive NOT NULL DEFAULT 7 CHECK (VALUE < 100);
CREATE DOMAIN public.word AS text COLLATE "C" CONSTRAINT "no blank" CHECK (VALUE !~ '\s');
CREATE TYPE public.pair AS (a integer, b text);
CREATE TYPE public.nested AS (p public.pair, list public.pair[], w public.word);
CREATE TABLE public.composed (id int PRIMARY KEY, s public.small, w public.word, p public.pair, n public.nested);
INSERT INTO public.composed VALUES (1, DEFAULT, 'x', NULL, NULL), (2, 8, NULL, ROW(NULL, NULL), ROW(ROW(1, ''), ARRAY[ROW(1, '"q"')::public.pair, NULL], 'y')),
    (3, 9, '', ROW(1, E'a,b"\\'), ROW(NULL, '{}', NULL));
CREATE TABLE public.of_type OF public.pair (PRIMARY KEY (a));
INSERT INTO public.of_type VALUES (1, 'one');
-- changes
UPDATE public.composed SET p = ROW(%(i)s, NULL), n.p.b = 'b' || %(r)s WHERE id = 1 + %(r)s %% 3;
UPDATE public.composed SET p = NULL, s = 1 + %(r)s %% 99 WHERE id = 1 + (%(r)s + 1) %% 3;
INSERT INTO public.of_type VALUES (%(i)s + 1, NULL);

-- piece: D13 arrays of domains; from 11
CREATE DOMAIN public.cents AS numeric(10, 2);
CREATE TABLE public.domain_arrays (id int PRIMARY KEY, c public.cents[]);
INSERT INTO public.domain_arrays VALUES (1, '{1.10,NULL}'), (2, '[-1:0]={1,2}');
-- changes
UPDATE public.domain_arrays SET c[%(r)s %% 5] = %(r)s WHERE id = 1;

-- piece: D13 domains over composites; from 11
CREATE TYPE public.span AS (low int, high int);
CREATE DOMAIN public.true_span AS public.span CHECK ((VALUE).low <= (VALUE).high);
CREATE TABLE public.spans (id int PRIMARY KEY, s public.true_span);
INSERT INTO public.spans VALUES (1, ROW(1, 2));
-- changes
UPDATE public.spans SET s = ROW(%(r)s, %(r)s + %(i)s) WHERE id = 1;

-- piece: D14 constraints of every kind
CREATE TABLE public.limits (n int PRIMARY KEY);
INSERT INTO public.limits VALUES (10), (20);
CREATE FUNCTION public.within(v int) RETURNS boolean LANGUAGE plpgsql STABLE AS 'BEGIN RETURN v <= (SELECT max(n) FROM public.limits); END';
CREATE TABLE public.checked (id int PRIMARY KEY, v int CHECK (public.within(v)), w int, during int4range, CONSTRAINT twice UNIQUE (w) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT apart EXCLUDE USING gist (during WITH &&) WHERE (id > 0) DEFERRABLE);
INSERT INTO public.checked SELECT g, g % 20, g, int4range(g * 10, g * 10 + 5) FROM generate_series(1, 100) g;
ALTER TABLE public.checked ADD CONSTRAINT unproved CHECK (w > 50) NOT VALID;
ALTER TABLE public.checked ADD CONSTRAINT "un proved" FOREIGN KEY (v) REFERENCES public.limits NOT VALID;
CREATE UNIQUE INDEX checked_partial ON public.checked (w) WHERE v > 5;
CREATE UNIQUE INDEX checked_expression ON public.checked ((w + 1), lower(during));
CREATE TABLE public.no_inherit (id int PRIMARY KEY, CHECK (id > 0) NO INHERIT);
-- changes
UPDATE public.checked SET w = 2 * 101 - w, v = 10 WHERE id IN (51 + %(r)s %% 49) AND w BETWEEN 52 AND 150;
INSERT INTO public.checked VALUES (1000 + %(i)s, 20, 1000 + %(i)s, int4range(%(i)s * 10 + 100000, %(i)s * 10 + 100003));
DELETE FROM public.checked WHERE id = 1000 + %(i)s - 3;

-- piece: D14 INCLUDE; from 11
CREATE TABLE public.covering (id int, v text, PRIMARY KEY (id) INCLUDE (v));
CREATE UNIQUE INDEX covering_v ON public.covering (v) INCLUDE (id);
INSERT INTO public.covering SELECT g, 'v' || g FROM generate_series(1, 50) g;
-- changes
UPDATE public.covering SET v = 'w' || %(i)s WHERE id = 1 + %(r)s %% 50;

-- piece: D14 NULLS NOT DISTINCT; from 15
CREATE TABLE public.one_null (id int PRIMARY KEY, v int UNIQUE NULLS NOT DISTINCT);
INSERT INTO public.one_null VALUES (1, NULL), (2, 2);
-- changes
UPDATE public.one_null SET v = CASE WHEN v IS NULL THEN %(i)s + 10 END WHERE id = 1;

-- piece: D14 constraints that are not enforced, NOT NULL not yet valid, periods; from 18
CREATE EXTENSION IF NOT EXISTS btree_gist;
CREATE TABLE public.eighteen (id int, v int, during int4range, CONSTRAINT loose CHECK (v > 0) NOT ENFORCED, PRIMARY KEY (id, during WITHOUT OVERLAPS));
INSERT INTO public.eighteen VALUES (1, -1, '[1,5)'), (1, NULL, '[5,9)');
ALTER TABLE public.eighteen ADD CONSTRAINT later NOT NULL v NOT VALID;
-- changes
INSERT INTO public.eighteen VALUES (1, %(r)s, int4range(100 * %(i)s + 20, 100 * %(i)s + 30));

-- piece: D15 circles of foreign keys
CREATE TABLE public.boss (id int PRIMARY KEY, boss int REFERENCES public.boss DEFERRABLE INITIALLY DEFERRED);
INSERT INTO public.boss VALUES (1, 2), (2, 3), (3, 1), (4, NULL);
CREATE TABLE public.ring_a (id int PRIMARY KEY, next int);
CREATE TABLE public.ring_b (id int PRIMARY KEY, next int REFERENCES public.ring_a DEFERRABLE);
CREATE TABLE public.ring_c (id int PRIMARY KEY, next int REFERENCES public.ring_b ON UPDATE CASCADE ON DELETE CASCADE);
INSERT INTO public.ring_a VALUES (1, 1);
INSERT INTO public.ring_b VALUES (1, 1);
INSERT INTO public.ring_c VALUES (1, 1);
ALTER TABLE public.ring_a ADD FOREIGN KEY (next) REFERENCES public.ring_c DEFERRABLE INITIALLY DEFERRED;
-- changes
INSERT INTO public.boss VALUES (100 + 2 * %(i)s, 101 + 2 * %(i)s), (101 + 2 * %(i)s, 1);
INSERT INTO public.ring_a VALUES (1 + %(i)s, 1 + %(i)s);
INSERT INTO public.ring_b VALUES (1 + %(i)s, 1 + %(i)s);
INSERT INTO public.ring_c VALUES (1 + %(i)s, 1 + %(i)s);

-- piece: D16 triggers in every state
CREATE TABLE public.fired (id serial PRIMARY KEY, what text);
CREATE TABLE public.watched (id int PRIMARY KEY, v text, w text);
INSERT INTO public.watched SELECT g, 'v' FROM generate_series(1, 40) g;
CREATE FUNCTION public.fire() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $f$ BEGIN
  INSERT INTO fired (what) VALUES (TG_NAME || ' ' || TG_OP); RETURN coalesce(NEW, OLD); END $f$;
CREATE TRIGGER ordinary BEFORE UPDATE ON public.watched FOR EACH ROW EXECUTE PROCEDURE public.fire();
CREATE TRIGGER always AFTER INSERT OR DELETE ON public.watched FOR EACH ROW EXECUTE PROCEDURE public.fire();
CREATE TRIGGER replica AFTER UPDATE OF v ON public.watched FOR EACH ROW WHEN (OLD.v IS DISTINCT FROM NEW.v) EXECUTE PROCEDURE public.fire();
CREATE TRIGGER disabled AFTER UPDATE ON public.watched FOR EACH STATEMENT EXECUTE PROCEDURE public.fire('an ''argument''', E'\\x');
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON public.watched DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE PROCEDURE public.fire();
ALTER TABLE public.watched ENABLE ALWAYS TRIGGER always;
ALTER TABLE public.watched ENABLE REPLICA TRIGGER replica;
ALTER TABLE public.watched DISABLE TRIGGER disabled;
CREATE RULE also AS ON DELETE TO public.watched DO ALSO INSERT INTO public.fired (what) VALUES ('rule ' || OLD.id);
CREATE RULE off AS ON UPDATE TO public.watched WHERE NEW.id < 0 DO INSTEAD NOTHING;
ALTER TABLE public.watched DISABLE RULE off;
-- changes
INSERT INTO public.watched VALUES (100 + %(i)s, 'new');
UPDATE public.watched SET v = 'u' || %(r)s WHERE id = 1 + %(r)s %% 40;
DELETE FROM public.watched WHERE id = 100 + %(i)s - 3;

-- piece: D16 triggers with transition tables; from 10
CREATE TABLE public.counted (id int PRIMARY KEY, v int);
CREATE TABLE public.counts (id serial PRIMARY KEY, n bigint);
CREATE FUNCTION public.count_them() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.counts (n) SELECT count(*) FROM fresh; RETURN NULL; END';
CREATE TRIGGER counting AFTER INSERT ON public.counted REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE PROCEDURE public.count_them();
-- changes
INSERT INTO public.counted SELECT %(i)s * 10 + g, g FROM generate_series(1, 4) g;

-- piece: D16 row security, forced; from 9.5
CREATE TABLE public.secret (id int PRIMARY KEY, owner name DEFAULT current_user, v text);
ALTER TABLE public.secret ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.secret FORCE ROW LEVEL SECURITY;
CREATE POLICY "see own" ON public.secret FOR SELECT TO torture_owner, "torture ""reader" USING (owner = current_user);
CREATE POLICY "write own" ON public.secret FOR INSERT WITH CHECK (owner = current_user AND id > 0);
INSERT INTO public.secret SELECT g, 'somebody', 'hidden' FROM generate_series(1, 30) g;
COMMENT ON POLICY "see own" ON public.secret IS 'own rows only';
-- changes
INSERT INTO public.secret VALUES (1000 + %(i)s, 'nobody', 'x');
UPDATE public.secret SET v = 'y' || %(r)s WHERE id = 1 + %(r)s %% 30;

-- piece: D16 restrictive policies; from 10
CREATE TABLE public.restricted (id int PRIMARY KEY);
ALTER TABLE public.restricted ENABLE ROW LEVEL SECURITY;
CREATE POLICY never ON public.restricted AS RESTRICTIVE FOR UPDATE USING (false) WITH CHECK (false);

-- piece: D16 event triggers
CREATE TABLE public.commands (id serial PRIMARY KEY, tag text);
CREATE FUNCTION public.note_command() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
  IF EXISTS (SELECT 1 FROM pg_catalog.pg_class WHERE relname = 'commands') THEN INSERT INTO public.commands (tag) VALUES (tg_tag); END IF; END $$;
CREATE EVENT TRIGGER noting ON ddl_command_end WHEN TAG IN ('CREATE SEQUENCE', 'CREATE TABLE AS') EXECUTE PROCEDURE public.note_command();
CREATE EVENT TRIGGER sleeping ON sql_drop EXECUTE PROCEDURE public.note_command();
ALTER EVENT TRIGGER sleeping DISABLE;
COMMENT ON EVENT TRIGGER noting IS 'takes notes';

-- piece: D17 sequences in odd states
CREATE SEQUENCE public.down INCREMENT -3 MINVALUE -100 MAXVALUE 5 START 5;
CREATE SEQUENCE public.at_its_end MAXVALUE 3;
SELECT setval('public.at_its_end', 3);
CREATE SEQUENCE public.cycles MINVALUE 2 MAXVALUE 4 CYCLE;
CREATE SEQUENCE public.never_called START 77;
CREATE SEQUENCE public.cached CACHE 20;
CREATE SEQUENCE public.set_not_called;
SELECT setval('public.set_not_called', 41, false);
CREATE TABLE public.shares_a (id int PRIMARY KEY DEFAULT nextval('public.cached'));
CREATE TABLE public.shares_b (id int PRIMARY KEY DEFAULT nextval('public.cached'), s bigserial);
ALTER SEQUENCE public.cached OWNED BY public.shares_a.id;
COMMENT ON SEQUENCE public.down IS 'goes down';
-- changes
INSERT INTO public.shares_a DEFAULT VALUES;
INSERT INTO public.shares_b DEFAULT VALUES;
SELECT nextval('public.cycles');
SELECT nextval('public.down') WHERE (SELECT last_value FROM public.down) > -90;

-- piece: D17 identity columns; from 10
CREATE TABLE public.identity (id bigint GENERATED ALWAYS AS IDENTITY (START 7 INCREMENT 5 CYCLE) PRIMARY KEY, other smallint GENERATED BY DEFAULT AS IDENTITY, v text);
INSERT INTO public.identity (v) SELECT 'v' || g FROM generate_series(1, 30) g;
CREATE SEQUENCE public.tiny AS smallint;
-- changes
INSERT INTO public.identity (v) VALUES ('new ' || %(i)s);
UPDATE public.identity SET id = DEFAULT, v = 'moved' WHERE id = (SELECT min(id) FROM public.identity);
UPDATE public.identity SET v = v || '.' WHERE id = (SELECT max(id) FROM public.identity);

-- piece: D17 stored generated columns; from 12
CREATE TABLE public.computed (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED NOT NULL, b text, l int GENERATED ALWAYS AS (length(b)) STORED);
CREATE UNIQUE INDEX computed_twice ON public.computed (twice, id);
INSERT INTO public.computed (id, a, b) SELECT g, g, md5(g::text) FROM generate_series(1, 60) g;
-- changes
UPDATE public.computed SET a = %(r)s, b = NULL WHERE id = 1 + %(r)s %% 60;
INSERT INTO public.computed (id, a) VALUES (1000 + %(i)s, %(r)s);

-- piece: D17 virtual generated columns; from 18
CREATE TABLE public.virtual (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) VIRTUAL);
INSERT INTO public.virtual (id, a) SELECT g, g FROM generate_series(1, 60) g;
-- changes
UPDATE public.virtual SET a = %(r)s WHERE id = 1 + %(r)s %% 60;

-- piece: D18 rows without a key, many of them equal
CREATE TABLE public.keyless (a int, b text);
INSERT INTO public.keyless SELECT g % 5, CASE WHEN g % 7 > 0 THEN 'b' END FROM generate_series(1, 100) g;
INSERT INTO public.keyless SELECT NULL, NULL FROM generate_series(1, 10);
ALTER TABLE public.keyless REPLICA IDENTITY FULL;
-- changes
DELETE FROM public.keyless WHERE ctid = (SELECT ctid FROM public.keyless WHERE a = 1 LIMIT 1);
UPDATE public.keyless SET b = 'c' WHERE ctid = (SELECT ctid FROM public.keyless WHERE a IS NULL LIMIT 1);
INSERT INTO public.keyless SELECT 1, 'b' FROM generate_series(1, 3);

-- piece: D18 identity by an index that is no key
CREATE TABLE public.by_index (a int NOT NULL, b text NOT NULL, c int, UNIQUE (b, a));
ALTER TABLE public.by_index REPLICA IDENTITY USING INDEX by_index_b_a_key;
INSERT INTO public.by_index SELECT g, 'b' || g, 0 FROM generate_series(1, 50) g;
-- changes
UPDATE public.by_index SET c = c + 1, b = 'n' || %(i)s WHERE a = 1 + %(r)s %% 50;
DELETE FROM public.by_index WHERE a = 60;
INSERT INTO public.by_index VALUES (60, 'sixty', %(r)s);

-- piece: D19 keys that change and change places
CREATE TABLE public.swapped (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v text);
ALTER TABLE public.swapped REPLICA IDENTITY FULL;
INSERT INTO public.swapped SELECT g, 'v' || g FROM generate_series(1, 20) g;
CREATE TABLE public.rekeyed (id int PRIMARY KEY, v int);
INSERT INTO public.rekeyed SELECT g, 0 FROM generate_series(1, 20) g;
-- changes
UPDATE public.swapped SET id = 21 - id;
UPDATE public.rekeyed SET id = id + 1000 WHERE id <= 20;
UPDATE public.rekeyed SET id = 1021 - (id - 1000) - 1000 WHERE id > 1000;
DELETE FROM public.rekeyed WHERE id = 1;
INSERT INTO public.rekeyed VALUES (1, -1);
DELETE FROM public.rekeyed WHERE id = 1;
INSERT INTO public.rekeyed VALUES (1, 0);
UPDATE public.rekeyed SET v = v + 1 WHERE id = 2;
UPDATE public.rekeyed SET v = v + 1 WHERE id = 2;
UPDATE public.rekeyed SET v = v + 1 WHERE id = 2;
SAVEPOINT one;
UPDATE public.rekeyed SET v = -1;
ROLLBACK TO one;

-- piece: D20 unlogged tables, large objects
CREATE UNLOGGED TABLE public.unlogged (id serial PRIMARY KEY, v text);
INSERT INTO public.unlogged (v) SELECT 'u' || g FROM generate_series(1, 100) g;
CREATE TABLE public.documents (id int PRIMARY KEY, body oid);
SELECT lo_create(770000 + g) FROM generate_series(1, 3) g;
INSERT INTO public.documents SELECT g, 770000 + g FROM generate_series(1, 3) g;
SELECT lowrite(lo_open(770001, 131072), decode(repeat('00ff', 200000), 'hex'));
COMMENT ON LARGE OBJECT 770001 IS 'a document';
GRANT SELECT ON LARGE OBJECT 770001 TO torture_owner;
-- changes
INSERT INTO public.unlogged (v) VALUES ('more' || %(i)s);
SELECT lowrite(lo_open(770002, 131072), decode(md5(%(i)s::text), 'hex'));

-- piece: D20 foreign tables
CREATE EXTENSION postgres_fdw;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1', dbname 'it''s');
CREATE FOREIGN TABLE public.far (id int OPTIONS (column_name 'ID'), v text NOT NULL) SERVER elsewhere OPTIONS (table_name 'far');
COMMENT ON FOREIGN TABLE public.far IS 'far away';

-- piece: D21 views on views, materialized views on materialized views
CREATE TABLE public.viewed (id int PRIMARY KEY, v int);
INSERT INTO public.viewed SELECT g, g % 10 FROM generate_series(1, 100) g;
CREATE VIEW public.view_0 AS SELECT id, v FROM public.viewed;
DO $$ BEGIN FOR g IN 1..50 LOOP EXECUTE format('CREATE VIEW public.view_%s AS SELECT id, v + 1 AS v FROM public.view_%s', g, g - 1); END LOOP; END $$;
CREATE RECURSIVE VIEW public.countdown (n) AS VALUES (10) UNION ALL SELECT n - 1 FROM countdown WHERE n > 1;
CREATE VIEW public.checked_view WITH (security_barrier) AS SELECT id, v FROM public.viewed WHERE v < 5;
CREATE MATERIALIZED VIEW public.mat_2 AS SELECT v, count(*) AS n FROM public.view_50 GROUP BY v;
CREATE UNIQUE INDEX mat_2_v ON public.mat_2 (v);
CREATE MATERIALIZED VIEW public.mat_1 AS SELECT sum(n) AS n FROM public.mat_2;
CREATE MATERIALIZED VIEW public.unfilled AS SELECT 1 AS one WITH NO DATA;
CREATE VIEW public.joined AS SELECT a.id, b.v, w.w FROM public.viewed a LEFT JOIN public.viewed b USING (id), LATERAL (SELECT a.v + 1 AS w) w ORDER BY 1 DESC NULLS LAST;
COMMENT ON COLUMN public.checked_view.v IS 'below five';
-- changes
UPDATE public.viewed SET v = %(r)s %% 10 WHERE id = 1 + %(r)s %% 100;

-- piece: D21 views that anybody calls as himself; from 15
CREATE VIEW public.as_caller WITH (security_invoker = true) AS SELECT 1 AS one;

-- piece: D22 functions with tricks in their bodies
CREATE FUNCTION public.quotes() RETURNS text LANGUAGE sql AS 'SELECT ''it''''s $$ "x" -- no'' || $a$ $b$ $a$ || E''\\'';';
CREATE FUNCTION public."odd name %s"("p q" text DEFAULT 'it''s; $$', VARIADIC "rest" int[] DEFAULT '{1,2}') RETURNS TABLE (x int, "y z" text) LANGUAGE plpgsql IMMUTABLE STRICT COST 7 ROWS 3 AS $fn$
BEGIN
--
-- TOC entry 999999 (class 1259 OID 16400)
-- Name: fake; Type: TABLE; Schema: public; Owner: postgres
--
  /*
\connect nowhere
  */
  RETURN;
END $fn$;
CREATE FUNCTION public.inside(int4, int4) RETURNS int4 LANGUAGE internal IMMUTABLE STRICT AS 'int4pl';
CREATE FUNCTION public.outs(a int, OUT b int, INOUT c text) LANGUAGE sql AS 'SELECT a, c';
CREATE AGGREGATE public.total(int) (SFUNC = public.inside, STYPE = int, INITCOND = '0');
CREATE FUNCTION public.window_number() RETURNS bigint LANGUAGE internal WINDOW IMMUTABLE AS 'window_row_number';
COMMENT ON FUNCTION public.quotes() IS 'quotes''s';

-- piece: D22 bodies that the server has read; from 14
CREATE TABLE public.read_by_body (id int PRIMARY KEY, v int);
CREATE FUNCTION public.reads() RETURNS bigint LANGUAGE sql STABLE BEGIN ATOMIC SELECT count(*) FROM public.read_by_body; END;
CREATE FUNCTION public.returns(a int) RETURNS int LANGUAGE sql IMMUTABLE RETURN a + 1;
CREATE PROCEDURE public.gives(IN a int, OUT b int) LANGUAGE plpgsql AS 'BEGIN b := a; END';

-- piece: D22 aggregates over sorted input; from 9.4
CREATE AGGREGATE public.sorted(ORDER BY anyelement) (SFUNC = ordered_set_transition, STYPE = internal, FINALFUNC = mode_final, FINALFUNC_EXTRA);

-- piece: D22 procedures; from 11
CREATE PROCEDURE public.does("an arg" text DEFAULT 'x') LANGUAGE plpgsql AS 'BEGIN COMMIT; END';
GRANT EXECUTE ON PROCEDURE public.does(text) TO "torture ""reader";

-- piece: D23 operators, casts, text search, conversions
CREATE TYPE public.boxed AS (v int);
CREATE FUNCTION public.unbox(public.boxed) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1.v';
CREATE CAST (public.boxed AS int) WITH FUNCTION public.unbox(public.boxed) AS ASSIGNMENT;
CREATE FUNCTION public.same(public.boxed, public.boxed) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1.v = $2.v';
CREATE OPERATOR public.=== (LEFTARG = public.boxed, RIGHTARG = public.boxed, PROCEDURE = public.same, COMMUTATOR = OPERATOR(public.===), RESTRICT = eqsel);
CREATE OPERATOR FAMILY public.by_size USING btree;
CREATE FUNCTION public.backwards(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT pg_catalog.btint4cmp($2, $1)';
CREATE OPERATOR CLASS public.down_ops FOR TYPE int USING btree FAMILY public.by_size AS OPERATOR 1 > , OPERATOR 2 >= , OPERATOR 3 = , OPERATOR 4 <= , OPERATOR 5 < , FUNCTION 1 public.backwards(int, int);
CREATE TABLE public.sorted_down (v int);
CREATE INDEX sorted_down_v ON public.sorted_down (v public.down_ops);
CREATE TEXT SEARCH DICTIONARY public.plain (TEMPLATE = pg_catalog.simple, stopwords = 'english');
CREATE TEXT SEARCH CONFIGURATION public.mine (COPY = pg_catalog.english);
ALTER TEXT SEARCH CONFIGURATION public.mine ALTER MAPPING FOR asciiword WITH public.plain, english_stem;
CREATE TABLE public.searched (id int PRIMARY KEY, v text);
CREATE INDEX searched_v ON public.searched USING gin (to_tsvector('public.mine', v));
INSERT INTO public.searched VALUES (1, 'running dogs'), (2, 'the cat');
CREATE COLLATION public.plain_c (lc_collate = 'C', lc_ctype = 'C');
CREATE TYPE public.float_span AS RANGE (SUBTYPE = float8, SUBTYPE_DIFF = float8mi);
CREATE TABLE public.float_spans (id int PRIMARY KEY, s public.float_span);
INSERT INTO public.float_spans VALUES (1, '[0.1,0.2)'), (2, 'empty'), (3, '(,-0.0]');
CREATE TABLE public.with_options (id int PRIMARY KEY WITH (fillfactor = 70), v text) WITH (fillfactor = 50, autovacuum_enabled = false, toast.autovacuum_enabled = false);
ALTER TABLE public.with_options ALTER v SET STATISTICS 500, ALTER v SET (n_distinct = -0.5);
ALTER TABLE public.with_options CLUSTER ON with_options_pkey;
-- changes
UPDATE public.searched SET v = v || ' dog' || %(r)s WHERE id = 1 AND length(v) < 9000;
UPDATE public.float_spans SET s = public.float_span(%(r)s / 3.0, NULL) WHERE id = 1;

-- piece: D23 languages and conversions
CREATE FUNCTION public.own_handler() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION public.own_inline(internal) RETURNS void STRICT LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_inline_handler';
CREATE FUNCTION public.own_validator(oid) RETURNS void STRICT LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_validator';
CREATE TRUSTED LANGUAGE own_words HANDLER public.own_handler INLINE public.own_inline VALIDATOR public.own_validator;
COMMENT ON LANGUAGE own_words IS 'another name for it';
GRANT USAGE ON LANGUAGE own_words TO torture_owner;
CREATE FUNCTION public.in_own_words() RETURNS int LANGUAGE own_words AS 'BEGIN RETURN 1; END';
CREATE CONVERSION public.own_latin FOR 'LATIN1' TO 'UTF8' FROM pg_catalog.iso8859_1_to_utf8;
CREATE DEFAULT CONVERSION public.own_cyrillic FOR 'KOI8R' TO 'UTF8' FROM pg_catalog.koi8r_to_utf8;
COMMENT ON CONVERSION public.own_latin IS 'from Latin';

-- piece: D23 transforms; from 9.5
CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION pg_catalog.prsd_lextype(internal), TO SQL WITH FUNCTION pg_catalog.int4recv(internal));
CREATE FUNCTION public.transformed(int) RETURNS int LANGUAGE sql TRANSFORM FOR TYPE int AS 'SELECT $1';

-- piece: D23 access methods; from 12
CREATE ACCESS METHOD "own heap" TYPE TABLE HANDLER pg_catalog.heap_tableam_handler;
CREATE TABLE public.by_own_method (id int PRIMARY KEY, v text) USING "own heap";
INSERT INTO public.by_own_method SELECT g, 'v' || g FROM generate_series(1, 200) g;
-- changes
UPDATE public.by_own_method SET v = v || '.' WHERE id = 1 + %(r)s %% 200;

-- piece: D23 statistics objects; from 10
CREATE TABLE public.correlated (a int, b int, c text);
CREATE STATISTICS public."both of them" (dependencies, ndistinct) ON a, b FROM public.correlated;
COMMENT ON STATISTICS public."both of them" IS 'a and b';

-- piece: D23 statistics of most common values; from 12
CREATE STATISTICS public.common (mcv) ON a, c FROM public.correlated;

-- piece: D23 statistics of expressions; from 14
CREATE STATISTICS public.expressed ON (a + b), lower(c) FROM public.correlated;

-- piece: D23 owners, grants, default privileges
CREATE SCHEMA owned AUTHORIZATION torture_owner;
CREATE TABLE owned.things (id int PRIMARY KEY, v text, w text);
ALTER TABLE owned.things OWNER TO torture_owner;
CREATE FUNCTION owned.act() RETURNS int LANGUAGE sql AS 'SELECT 1';
ALTER FUNCTION owned.act() OWNER TO torture_owner;
REVOKE EXECUTE ON FUNCTION owned.act() FROM PUBLIC;
GRANT USAGE ON SCHEMA owned TO "torture ""reader";
GRANT SELECT (id), UPDATE (v) ON owned.things TO "torture ""reader" WITH GRANT OPTION;
GRANT SELECT, TRUNCATE ON owned.things TO PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA owned GRANT SELECT ON TABLES TO "torture ""reader";
ALTER DEFAULT PRIVILEGES FOR ROLE torture_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO torture_owner;
INSERT INTO owned.things SELECT g, 'v', 'w' FROM generate_series(1, 20) g;
COMMENT ON SCHEMA owned IS E'line one\nline ''two''';
COMMENT ON TABLE owned.things IS 'Größe $$ %s \ "q"';
COMMENT ON COLUMN owned.things.v IS 'v';
COMMENT ON CONSTRAINT things_pkey ON owned.things IS 'key';
COMMENT ON INDEX owned.things_pkey IS 'index';
-- changes
UPDATE owned.things SET w = 'w' || %(r)s WHERE id = 1 + %(r)s %% 20;

-- piece: D23 publications of others; from 10
CREATE PUBLICATION of_others FOR TABLE public.big_full;

-- piece: D24 transactions in two phases; alone
CREATE TABLE public.two_phase (id int PRIMARY KEY, v text);
-- changes
BEGIN;
INSERT INTO public.two_phase VALUES (%(i)s, 'prepared');
PREPARE TRANSACTION 'torture';
COMMIT PREPARED 'torture';
BEGIN;
INSERT INTO public.two_phase VALUES (- %(i)s, 'never');
PREPARE TRANSACTION 'torture';
ROLLBACK PREPARED 'torture';

-- piece: TRUNCATE while the sync runs; from 11
CREATE TABLE public.emptied (id serial PRIMARY KEY, v text);
CREATE TABLE public.emptied_too (id int PRIMARY KEY REFERENCES public.emptied);
INSERT INTO public.emptied (v) SELECT 'v' || g FROM generate_series(1, 20) g;
-- changes
SET LOCAL lock_timeout = '200ms';
TRUNCATE public.emptied RESTART IDENTITY CASCADE;
INSERT INTO public.emptied (v) VALUES ('again'), ('and again');
INSERT INTO public.emptied_too SELECT min(id) FROM public.emptied;
