-- What only 18 has.
SET search_path = torture, public;
CREATE TABLE modern (id integer PRIMARY KEY, a integer, doubled integer GENERATED ALWAYS AS (a * 2) VIRTUAL, part int4range, during tstzrange,
  CONSTRAINT not_enforced CHECK (a > 5) NOT ENFORCED, CONSTRAINT named_not_null NOT NULL a, CONSTRAINT by_time UNIQUE (part, during WITHOUT OVERLAPS));
ALTER TABLE modern ADD CONSTRAINT loose FOREIGN KEY (a) REFERENCES cycle_a NOT ENFORCED;
ALTER TABLE modern ADD b integer; ALTER TABLE modern ADD CONSTRAINT b_later NOT NULL b NOT VALID;
INSERT INTO modern (id, a, b) VALUES (1, 9, 1);
RESET search_path;
