-- One of every kind of object, and every state that one can be in. Needs the roles torture_owner and torture_reader.
CREATE SCHEMA torture AUTHORIZATION torture_owner;
CREATE SCHEMA "odd ""sch%ema";
COMMENT ON SCHEMA torture IS 'all of it';
GRANT USAGE ON SCHEMA torture TO torture_reader;
SET search_path = torture, public;
-- types
CREATE TYPE colour AS ENUM ('red', 'gre''en', 'blue');
ALTER TYPE colour ADD VALUE 'amber' BEFORE 'blue';
CREATE DOMAIN positive AS integer DEFAULT 1 CHECK (VALUE > 0);
CREATE DOMAIN small AS positive CONSTRAINT below CHECK (VALUE < 1000) NOT NULL;
ALTER DOMAIN small ADD CONSTRAINT unproved CHECK (VALUE <> 500) NOT VALID;
CREATE TYPE pair AS (a integer, b text COLLATE "C");
CREATE TYPE span AS RANGE (subtype = float8, subtype_diff = float8mi, multirange_type_name = spans);
CREATE DOMAIN codes AS text[] CHECK (array_length(VALUE, 1) < 5);
COMMENT ON TYPE colour IS 'colours';
COMMENT ON DOMAIN small IS 'small numbers';
COMMENT ON CONSTRAINT below ON DOMAIN small IS 'the limit';
GRANT USAGE ON TYPE colour TO torture_reader;
REVOKE USAGE ON TYPE pair FROM PUBLIC;
-- functions of all sorts
CREATE FUNCTION next_code(integer) RETURNS integer LANGUAGE sql STABLE AS 'SELECT $1 + 1';
CREATE FUNCTION plain(a integer DEFAULT 5, VARIADIC rest text[] DEFAULT '{}') RETURNS text LANGUAGE plpgsql
  IMMUTABLE STRICT SECURITY DEFINER LEAKPROOF PARALLEL SAFE COST 7 SET search_path = pg_catalog, torture AS $f$ BEGIN RETURN a || $q$x;'$q$; END $f$;
CREATE FUNCTION many(OUT x integer, OUT y text) RETURNS SETOF record LANGUAGE sql ROWS 42 AS $$ SELECT 1, 'a' $$;
CREATE FUNCTION loud() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END $$;
CREATE PROCEDURE proceed(INOUT n integer) LANGUAGE plpgsql AS $$ BEGIN n := n + 1; END $$;
CREATE AGGREGATE product(integer) (SFUNC = int4mul, STYPE = integer, INITCOND = '1', COMBINEFUNC = int4mul, PARALLEL = SAFE);
CREATE OPERATOR === (LEFTARG = integer, RIGHTARG = integer, FUNCTION = int4eq, COMMUTATOR = ===, HASHES, MERGES, RESTRICT = eqsel, JOIN = eqjoinsel);
CREATE FUNCTION pair_to_text(pair) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT ($1).b $$;
CREATE CAST (pair AS text) WITH FUNCTION pair_to_text(pair) AS ASSIGNMENT;
CREATE OPERATOR CLASS odd_order FOR TYPE integer USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 btint4cmp(integer, integer);
REVOKE EXECUTE ON FUNCTION plain(integer, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION plain(integer, text[]) TO torture_reader WITH GRANT OPTION;
COMMENT ON FUNCTION many() IS 'many rows';
COMMENT ON AGGREGATE product(integer) IS 'multiplies';
COMMENT ON OPERATOR ===(integer, integer) IS 'the same';
-- what the server's own functions serve: a base type, a transform, an access method
CREATE TYPE opaque;
CREATE FUNCTION opaque_in(cstring) RETURNS opaque LANGUAGE internal IMMUTABLE STRICT AS 'int4in'; CREATE FUNCTION opaque_out(opaque) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE FUNCTION opaque_recv(internal) RETURNS opaque LANGUAGE internal IMMUTABLE STRICT AS 'int4recv'; CREATE FUNCTION opaque_send(opaque) RETURNS bytea LANGUAGE internal IMMUTABLE STRICT AS 'int4send';
CREATE TYPE opaque (INPUT = opaque_in, OUTPUT = opaque_out, RECEIVE = opaque_recv, SEND = opaque_send, LIKE = integer, CATEGORY = 'N', PREFERRED = false, DEFAULT = '42', DELIMITER = ';');
COMMENT ON TYPE opaque IS 'a number'; GRANT USAGE ON TYPE opaque TO torture_reader;
CREATE TYPE half_made;
CREATE FUNCTION transformed(internal) RETURNS internal LANGUAGE internal IMMUTABLE STRICT AS 'int4recv';
CREATE TRANSFORM FOR pair LANGUAGE plpgsql (FROM SQL WITH FUNCTION transformed(internal)); COMMENT ON TRANSFORM FOR pair LANGUAGE plpgsql IS 'turned';
CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler; COMMENT ON ACCESS METHOD heap2 IS 'the same again';
COMMENT ON EXTENSION plpgsql IS 'a language of ours';
ALTER FUNCTION loud() DEPENDS ON EXTENSION plpgsql;
-- text search and collations
CREATE COLLATION plain_c FROM "C";
CREATE TEXT SEARCH DICTIONARY simple_words (TEMPLATE = simple, ACCEPT = true);
CREATE TEXT SEARCH CONFIGURATION words (PARSER = "default");
ALTER TEXT SEARCH CONFIGURATION words ADD MAPPING FOR asciiword, word WITH simple_words, simple;
COMMENT ON TEXT SEARCH CONFIGURATION words IS 'words';
CREATE TEXT SEARCH PARSER own_parser (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype, HEADLINE = prsd_headline);
CREATE TEXT SEARCH TEMPLATE own_template (INIT = dsimple_init, LEXIZE = dsimple_lexize);
CREATE TEXT SEARCH DICTIONARY own_words (TEMPLATE = own_template); CREATE TEXT SEARCH CONFIGURATION own_config (PARSER = own_parser);
ALTER TEXT SEARCH CONFIGURATION own_config ADD MAPPING FOR asciiword WITH own_words;
COMMENT ON TEXT SEARCH PARSER own_parser IS 'parses'; COMMENT ON TEXT SEARCH TEMPLATE own_template IS 'templates'; COMMENT ON TEXT SEARCH DICTIONARY own_words IS 'own';
-- sequences of every sort
CREATE SEQUENCE down AS smallint INCREMENT -2 MINVALUE -30 MAXVALUE 7 START 7 CACHE 3 CYCLE;
CREATE SEQUENCE bare;
CREATE SEQUENCE shared START 100;
GRANT USAGE, SELECT ON SEQUENCE bare TO torture_reader;
COMMENT ON SEQUENCE down IS 'downwards';
-- tables
CREATE TABLE everything (
  id bigint GENERATED ALWAYS AS IDENTITY (START WITH 10 INCREMENT 5) PRIMARY KEY,
  other bigint GENERATED BY DEFAULT AS IDENTITY, classic serial, shared_a integer DEFAULT nextval('shared'),
  code integer DEFAULT next_code(4), gone text, c colour DEFAULT 'red' NOT NULL, p small DEFAULT 3, pr pair, sp span, sps spans, k codes,
  twice integer GENERATED ALWAYS AS (code * 2) STORED, long text STORAGE EXTERNAL COLLATE "C", note varchar(20) DEFAULT 'it''s',
  at timestamptz DEFAULT now(), amount numeric(12,3), tags text[] DEFAULT '{a,"b c"}', doc jsonb DEFAULT '{"a": 1}',
  boss bigint REFERENCES everything DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT amount_ok CHECK (amount > 0), CONSTRAINT unique_note UNIQUE (note) DEFERRABLE,
  CONSTRAINT nulls_once UNIQUE NULLS NOT DISTINCT (shared_a, code) INCLUDE (c),
  CONSTRAINT no_overlap EXCLUDE USING gist (int4range(code, code + 10) WITH &&) WHERE (code > 1000)
) WITH (fillfactor = 70, autovacuum_enabled = false, toast.autovacuum_enabled = false);
ALTER TABLE everything DROP COLUMN gone;
ALTER TABLE everything ALTER long SET COMPRESSION pglz, ALTER at SET STATISTICS 500, ALTER code SET (n_distinct = 5);
ALTER TABLE everything ADD CONSTRAINT unproved CHECK (code <> 77) NOT VALID;
ALTER TABLE everything ADD CONSTRAINT unproved_key FOREIGN KEY (other) REFERENCES everything NOT VALID;
COMMENT ON TABLE everything IS E'a\nb ''c'' \\';
COMMENT ON COLUMN everything.note IS 'a note';
COMMENT ON CONSTRAINT amount_ok ON everything IS 'more than nothing';
GRANT SELECT ON everything TO torture_reader; GRANT UPDATE (note), INSERT (note, code) ON everything TO torture_reader;
GRANT SELECT ON everything TO PUBLIC;
CREATE INDEX by_expression ON everything (lower(note) DESC NULLS LAST, (amount + 1)) INCLUDE (code) WHERE code > 5 AND note <> 'x'::text;
CREATE INDEX by_hash ON everything USING hash (long); CREATE INDEX by_gin ON everything USING gin (doc jsonb_path_ops) WITH (fastupdate = off);
CREATE INDEX by_brin ON everything USING brin (at) WITH (pages_per_range = 32); CREATE INDEX by_spgist ON everything USING spgist (note);
CREATE INDEX by_pattern ON everything (note text_pattern_ops, long COLLATE "C"); CREATE INDEX by_own_class ON everything (code odd_order);
CREATE UNIQUE INDEX partial_unique ON everything (code) WHERE c = 'blue';
COMMENT ON INDEX by_hash IS 'hashed';
ALTER TABLE everything CLUSTER ON everything_pkey;
CREATE STATISTICS stats_1 (ndistinct, dependencies, mcv) ON code, note FROM everything; CREATE STATISTICS stats_2 ON (lower(note)) FROM everything;
ALTER STATISTICS stats_1 SET STATISTICS 77; COMMENT ON STATISTICS stats_1 IS 'measured';
CREATE TABLE child_of (extra text DEFAULT 'more') INHERITS (everything);
CREATE UNLOGGED TABLE forgetful (id integer PRIMARY KEY, v text);
CREATE TABLE nothing_in_it (); CREATE TABLE one_blank (" " integer);
DO $$ BEGIN EXECUTE 'CREATE TABLE wide (' || (SELECT string_agg('c' || i || ' integer', ', ') FROM generate_series(1, 1600) i) || ')'; END $$;
DO $$ BEGIN EXECUTE 'ALTER TABLE wide ' || (SELECT string_agg('DROP COLUMN c' || i, ', ') FROM generate_series(2, 1590) i); END $$;
CREATE TABLE typed OF pair (PRIMARY KEY (a));
CREATE TABLE keyless (v text); ALTER TABLE keyless REPLICA IDENTITY FULL;
CREATE TABLE by_index (id integer NOT NULL, v text); CREATE UNIQUE INDEX by_index_id ON by_index (id); ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_id;
CREATE TABLE cycle_a (id integer PRIMARY KEY, b integer); CREATE TABLE cycle_b (id integer PRIMARY KEY, a integer REFERENCES cycle_a ON DELETE CASCADE ON UPDATE SET NULL);
ALTER TABLE cycle_a ADD FOREIGN KEY (b) REFERENCES cycle_b MATCH FULL ON DELETE SET DEFAULT;
ALTER INDEX by_expression ALTER COLUMN 1 SET STATISTICS 333, ALTER COLUMN 2 SET STATISTICS 0;
CREATE TABLE by_heap2 (id integer PRIMARY KEY, v text) USING heap2; CREATE MATERIALIZED VIEW kept_in_heap2 USING heap2 AS SELECT count(*) AS n FROM by_heap2;
CREATE TABLE of_opaque (id integer PRIMARY KEY, o opaque DEFAULT '7', os opaque[]);
CREATE TABLE mother (id integer NOT NULL, a text DEFAULT 'm', CONSTRAINT m_check CHECK (id > 0)); CREATE TABLE father (id integer, a text, b text DEFAULT 'f', CONSTRAINT f_check CHECK (b <> 'x') NO INHERIT);
CREATE TABLE heir (own integer, a text DEFAULT 'h') INHERITS (mother, father); CREATE TABLE grandchild (id integer, a text DEFAULT 'g', b text, own integer, last text); ALTER TABLE grandchild ADD CONSTRAINT m_check CHECK (id > 0), ALTER id SET NOT NULL, INHERIT heir, INHERIT father;
CREATE TABLE twins (a integer, b integer, PRIMARY KEY (a, b)); CREATE TABLE of_twins (id integer PRIMARY KEY, a integer, b integer DEFAULT 1, c integer DEFAULT 2,
  FOREIGN KEY (a, b) REFERENCES twins ON DELETE SET NULL (b), CONSTRAINT to_default FOREIGN KEY (a, c) REFERENCES twins ON DELETE SET DEFAULT (c));
CREATE TABLE catalogued (id integer PRIMARY KEY, rel regclass, proc regprocedure, plain regproc, kind regtype, op regoperator, space regnamespace, who regrole, config regconfig, dict regdictionary, coll regcollation, rels regclass[]);
-- a tree of partitions, columns in other orders
CREATE TABLE tree (id integer NOT NULL, region text NOT NULL, at date NOT NULL, v text DEFAULT 'd', PRIMARY KEY (id, region, at)) PARTITION BY LIST (region);
CREATE TABLE tree_eu (at date NOT NULL, dropped text, v text DEFAULT 'own', region text NOT NULL, id integer NOT NULL) PARTITION BY RANGE (at);
ALTER TABLE tree_eu DROP COLUMN dropped;
ALTER TABLE tree ATTACH PARTITION tree_eu FOR VALUES IN ('eu', 'uk');
CREATE TABLE tree_eu_old PARTITION OF tree_eu FOR VALUES FROM (MINVALUE) TO ('2020-01-01') PARTITION BY HASH (id);
CREATE TABLE tree_eu_old_0 PARTITION OF tree_eu_old FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE tree_eu_old_1 PARTITION OF tree_eu_old FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE tree_eu_new PARTITION OF tree_eu (CONSTRAINT own_check CHECK (v <> 'never')) FOR VALUES FROM ('2020-01-01') TO (MAXVALUE);
CREATE TABLE tree_rest PARTITION OF tree DEFAULT;
CREATE INDEX tree_v ON tree (v); CREATE INDEX only_here ON tree_rest (lower(v)); CREATE INDEX not_whole ON ONLY tree (at);
ALTER TABLE tree ADD FOREIGN KEY (id) REFERENCES cycle_a; ALTER TABLE tree ADD CHECK (id > 0);
CREATE TABLE by_function (id integer, v text) PARTITION BY RANGE (abs(id));
CREATE TABLE by_function_1 PARTITION OF by_function FOR VALUES FROM (0) TO (100);
CREATE TABLE deep (a integer, b integer, c integer, d integer, e text, PRIMARY KEY (a, b, c, d)) PARTITION BY LIST (a);
CREATE TABLE deep_1 PARTITION OF deep FOR VALUES IN (1) PARTITION BY RANGE (b); CREATE TABLE deep_12 (c integer NOT NULL, e text DEFAULT 'two', d integer NOT NULL, b integer NOT NULL, a integer NOT NULL) PARTITION BY HASH (c);
ALTER TABLE deep_1 ATTACH PARTITION deep_12 FOR VALUES FROM (0) TO (100); CREATE TABLE deep_123 PARTITION OF deep_12 FOR VALUES WITH (MODULUS 1, REMAINDER 0) PARTITION BY LIST (d);
CREATE TABLE deep_1234 PARTITION OF deep_123 DEFAULT PARTITION BY RANGE (d, a); CREATE TABLE deep_12345 PARTITION OF deep_1234 FOR VALUES FROM (MINVALUE, MINVALUE) TO (MAXVALUE, MAXVALUE);
CREATE INDEX deep_e ON deep (e);
-- views
CREATE VIEW simple_view WITH (security_barrier, security_invoker = true) AS SELECT id, note, code + 1 AS more FROM everything e WHERE code > 0 AND note LIKE 'p%' WITH LOCAL CHECK OPTION;
CREATE RECURSIVE VIEW counting (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM counting WHERE n < 10;
CREATE VIEW complicated AS WITH x AS (SELECT region, count(*) AS n, max(at) FILTER (WHERE v IS NOT NULL) AS last FROM tree GROUP BY GROUPING SETS ((region), ()))
  SELECT x.region, x.n, s.id, row_number() OVER (PARTITION BY x.region ORDER BY s.id DESC) AS r, CASE WHEN s.note ~ 'a' THEN 'A' ELSE s.note END AS cased,
         EXTRACT(year FROM x.last) AS y, COALESCE(s.more, 0)::numeric(5,1) AS cast_it, ARRAY(SELECT v FROM keyless k WHERE k.v = s.note) AS sub
    FROM x LEFT JOIN simple_view s ON s.id = x.n CROSS JOIN LATERAL (SELECT 1 AS one) l WHERE x.n BETWEEN 1 AND 100 OR s.note = 'a' OR s.note = 'b';
CREATE VIEW many_deep AS SELECT * FROM complicated; COMMENT ON VIEW many_deep IS 'deep'; COMMENT ON COLUMN many_deep.n IS 'number';
ALTER VIEW simple_view ALTER COLUMN more SET DEFAULT 7; GRANT SELECT ON complicated TO torture_reader;
CREATE MATERIALIZED VIEW kept AS SELECT region, count(*) AS n FROM tree GROUP BY region; CREATE UNIQUE INDEX kept_region ON kept (region);
CREATE MATERIALIZED VIEW kept_2 WITH (fillfactor = 50) AS SELECT sum(n) AS total FROM kept; CREATE MATERIALIZED VIEW unfilled AS SELECT 1 AS one WITH NO DATA;
COMMENT ON MATERIALIZED VIEW kept IS 'kept';
CREATE FUNCTION body() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM torture.everything WHERE code > 0; END;
-- triggers, rules, policies
CREATE TRIGGER t_plain BEFORE INSERT OR UPDATE OF note ON everything FOR EACH ROW WHEN (NEW.code > 5) EXECUTE FUNCTION loud();
CREATE TRIGGER t_always AFTER DELETE ON everything FOR EACH ROW EXECUTE FUNCTION loud(); ALTER TABLE everything ENABLE ALWAYS TRIGGER t_always;
CREATE TRIGGER t_replica AFTER INSERT ON everything FOR EACH ROW EXECUTE FUNCTION loud(); ALTER TABLE everything ENABLE REPLICA TRIGGER t_replica;
CREATE TRIGGER t_off AFTER TRUNCATE ON everything FOR EACH STATEMENT EXECUTE FUNCTION loud(); ALTER TABLE everything DISABLE TRIGGER t_off;
CREATE TRIGGER t_tables AFTER UPDATE ON cycle_b REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION loud('arg''1', 'b');
CREATE CONSTRAINT TRIGGER t_late AFTER INSERT ON cycle_b DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION loud();
CREATE TRIGGER t_tree AFTER INSERT ON tree FOR EACH ROW EXECUTE FUNCTION loud(); ALTER TABLE tree_rest DISABLE TRIGGER t_tree;
CREATE TRIGGER t_view INSTEAD OF INSERT ON many_deep FOR EACH ROW EXECUTE FUNCTION loud();
COMMENT ON TRIGGER t_plain ON everything IS 'plain';
CREATE RULE r_plain AS ON DELETE TO keyless WHERE OLD.v = 'keep' DO INSTEAD NOTHING; CREATE RULE r_also AS ON INSERT TO by_index DO ALSO INSERT INTO keyless VALUES (NEW.v);
CREATE RULE r_off AS ON UPDATE TO keyless DO ALSO NOTHING; ALTER TABLE keyless DISABLE RULE r_off; COMMENT ON RULE r_plain ON keyless IS 'kept';
ALTER TABLE everything ENABLE ROW LEVEL SECURITY; ALTER TABLE by_index ENABLE ROW LEVEL SECURITY; ALTER TABLE by_index FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON everything AS RESTRICTIVE FOR UPDATE TO torture_reader, torture_owner USING (note = current_user) WITH CHECK (code > 0 AND note IN (SELECT v FROM torture.keyless));
CREATE POLICY open_to_all ON by_index USING (true); COMMENT ON POLICY own ON everything IS 'own rows';
-- others
CREATE FOREIGN DATA WRAPPER elsewhere; CREATE SERVER far TYPE 'x' VERSION '1' FOREIGN DATA WRAPPER elsewhere OPTIONS (host 'h', port '1');
CREATE USER MAPPING FOR torture_owner SERVER far OPTIONS (user 'u', password 'hush'); CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (user 'all');
CREATE FOREIGN TABLE far_away (id integer OPTIONS (name 'Id') NOT NULL, v text) SERVER far OPTIONS (tab 't'); GRANT USAGE ON FOREIGN SERVER far TO torture_reader;
CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER watching ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'DROP TABLE') EXECUTE FUNCTION watch();
CREATE EVENT TRIGGER watching_off ON sql_drop EXECUTE FUNCTION watch(); ALTER EVENT TRIGGER watching_off DISABLE; ALTER EVENT TRIGGER watching ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER watching IS 'watches'; ALTER EVENT TRIGGER watching OWNER TO torture_super;
ALTER DEFAULT PRIVILEGES FOR ROLE torture_owner IN SCHEMA torture GRANT SELECT ON TABLES TO torture_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE torture_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC; ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO torture_reader;
SELECT lo_from_bytea(700001, '\x0102'); SELECT lo_from_bytea(700002, '\x03'); ALTER LARGE OBJECT 700001 OWNER TO torture_owner;
GRANT SELECT ON LARGE OBJECT 700001 TO torture_reader; COMMENT ON LARGE OBJECT 700002 IS 'large';
CREATE CONVERSION own_conversion FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE TABLE "odd ""sch%ema"."ta ""ble%s;--" ("co l%" text, "<b>" integer, PRIMARY KEY ("<b>")); CREATE INDEX "in dex" ON "odd ""sch%ema"."ta ""ble%s;--" (upper("co l%"));
CREATE VIEW "odd ""sch%ema"."v w" AS SELECT "co l%" AS "NULL" FROM "odd ""sch%ema"."ta ""ble%s;--";
ALTER TABLE cycle_a OWNER TO torture_owner; ALTER VIEW many_deep OWNER TO torture_owner; ALTER SEQUENCE bare OWNER TO torture_owner; ALTER TYPE colour OWNER TO torture_owner;
ALTER FUNCTION many() OWNER TO torture_owner; ALTER TABLE tree_rest OWNER TO torture_owner;
INSERT INTO wide (c1, c1600) VALUES (1, 1600);
INSERT INTO everything (other, note, code, amount) VALUES (10, 'parent', 1, 2); INSERT INTO child_of (id, note, code, amount, other) VALUES (1, 'child', 2, 3, 10);
INSERT INTO cycle_a SELECT generate_series(1, 60); INSERT INTO tree SELECT i, (ARRAY['eu','uk','us'])[1 + i % 3], '2019-06-01'::date + i * 9, 'v' || i FROM generate_series(1, 60) i;
INSERT INTO by_heap2 VALUES (1, 'two'); INSERT INTO of_opaque VALUES (1, '5', '{1;2}'), (2, NULL, NULL); INSERT INTO deep SELECT 1, i, i, i, 'e' || i FROM generate_series(1, 20) i;
INSERT INTO mother VALUES (1); INSERT INTO father VALUES (2, 'a', 'b'); INSERT INTO heir VALUES (3, 'aa', 'bb', 4); INSERT INTO grandchild VALUES (5, 'aaa', 'bbb', 6, 'z');
INSERT INTO twins VALUES (1, 1), (1, 2); INSERT INTO of_twins VALUES (1, 1, 1, 2), (2, NULL, 9, 9);
INSERT INTO catalogued VALUES (1, 'everything', 'plain(integer, text[])', 'many', 'colour', '===(integer, integer)', 'torture', 'torture_owner', 'words', 'simple_words', 'plain_c', '{tree,"\"odd \"\"sch%ema\".\"v w\""}'), (2, 'pg_class', 'int4eq(integer, integer)', 'now', 'opaque[]', '=(integer, integer)', '"odd ""sch%ema"', NULL, 'english', 'simple', '"C"', NULL);
REFRESH MATERIALIZED VIEW kept; REFRESH MATERIALIZED VIEW kept_2; REFRESH MATERIALIZED VIEW kept_in_heap2;
RESET search_path;
