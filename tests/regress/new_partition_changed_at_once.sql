-- A new partition whose columns changed in the very transaction that made it could not be copied again: it stopped the
-- sync as a table of the task, before anybody had written down that it is one.

-- @setup
CREATE TABLE t0 (id int, n int, c1 int, PRIMARY KEY (id, n)) PARTITION BY LIST (n);
CREATE TABLE t0_0 PARTITION OF t0 FOR VALUES IN (0);
INSERT INTO t0 VALUES (1, 0, 1);

-- @follow

-- @commit
CREATE TABLE t0_p5 PARTITION OF t0 FOR VALUES IN (15);
INSERT INTO t0 (id, n) VALUES (0, 15);
ALTER TABLE t0 ALTER COLUMN c1 TYPE numeric;
ALTER TABLE t0 ADD COLUMN c6 int DEFAULT 5;
UPDATE t0 SET c6 = 7 WHERE id = 0;

-- @follow

-- @commit
INSERT INTO t0 VALUES (3, 15, 0.5, 1), (4, 0, 0.5, 1);
