-- A new partition has the triggers of its table: one that fires always acted once more on the rows that the sync, or a
-- copy, put into it.
-- @options additions

-- @setup
CREATE TABLE t0 (id int, n int, v text, PRIMARY KEY (id, n)) PARTITION BY LIST (n);
CREATE TABLE t0_0 PARTITION OF t0 FOR VALUES IN (0);
CREATE FUNCTION mark() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.v := NEW.v || ''!''; RETURN NEW; END';
CREATE TRIGGER mark BEFORE INSERT ON t0 FOR EACH ROW EXECUTE FUNCTION mark();
ALTER TABLE t0 ENABLE ALWAYS TRIGGER mark;

-- @commit
CREATE TABLE t0_1 PARTITION OF t0 FOR VALUES IN (1);
INSERT INTO t0 VALUES (1, 0, 'x'), (1, 1, 'x');

-- @follow

-- @commit
CREATE TABLE t0_2 (LIKE t0);
INSERT INTO t0_2 VALUES (1, 2, 'x');
ALTER TABLE t0 ATTACH PARTITION t0_2 FOR VALUES IN (2);
INSERT INTO t0 VALUES (2, 2, 'y');

-- @follow

-- @commit
INSERT INTO t0 VALUES (3, 0, 'z'), (3, 1, 'z'), (3, 2, 'z');
