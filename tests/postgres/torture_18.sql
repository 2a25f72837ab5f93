-- What only 18 has.
SET search_path = torture, public;
CREATE TABLE modern (id integer PRIMARY KEY, a integer, doubled integer GENERATED ALWAYS AS (a * 2) VIRTUAL, part int4range, during tstzrange,
  CONSTRAINT not_enforced CHECK (a > 5) NOT ENFORCED, CONSTRAINT named_not_null NOT NULL a, CONSTRAINT by_time UNIQUE (part, during WITHOUT OVERLAPS));
ALTER TABLE modern ADD CONSTRAINT loose FOREIGN KEY (a) REFERENCES cycle_a NOT ENFORCED;
ALTER TABLE modern ADD b integer; ALTER TABLE modern ADD CONSTRAINT b_later NOT NULL b NOT VALID;
CREATE TABLE leases (room int4range, during tstzrange, PRIMARY KEY (room, during WITHOUT OVERLAPS));
CREATE TABLE stays (id integer PRIMARY KEY, room int4range, during tstzrange, CONSTRAINT while_leased FOREIGN KEY (room, PERIOD during) REFERENCES leases (room, PERIOD during));
ALTER TABLE tree ADD CONSTRAINT unproved_tree FOREIGN KEY (id) REFERENCES cycle_b NOT VALID;
CREATE TABLE strict_alone (id integer CONSTRAINT only_here NOT NULL NO INHERIT, n integer); CREATE TABLE below_strict () INHERITS (strict_alone);
CREATE TABLE mother_18 (n integer NOT NULL, m integer); ALTER TABLE mother_18 ADD CONSTRAINT m_later NOT NULL m NOT VALID; CREATE TABLE child_18 (CONSTRAINT own_name NOT NULL n) INHERITS (mother_18);
INSERT INTO leases VALUES ('[1,2)', '[2020-01-01,2021-01-01)'); INSERT INTO stays VALUES (1, '[1,2)', '[2020-02-01,2020-03-01)'); INSERT INTO child_18 VALUES (1, 2);
INSERT INTO modern (id, a, b) VALUES (1, 9, 1);
CREATE TABLE tree_of_heap2 (id integer) PARTITION BY LIST (id) USING heap2; CREATE TABLE tree_of_heap2_1 PARTITION OF tree_of_heap2 FOR VALUES IN (1); INSERT INTO tree_of_heap2 VALUES (1);
RESET search_path;
