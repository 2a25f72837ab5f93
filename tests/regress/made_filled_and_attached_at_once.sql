-- A table that was attached by the transaction that made it was taken for a new, empty partition: its rows were missing.
-- @options additions

-- @setup
CREATE TABLE t0 (id int, n int, PRIMARY KEY (id, n)) PARTITION BY LIST (n);
CREATE TABLE t0_0 PARTITION OF t0 FOR VALUES IN (0);

-- @commit
CREATE TABLE t0_1 (LIKE t0);
INSERT INTO t0_1 VALUES (1, 1);
ALTER TABLE t0 ATTACH PARTITION t0_1 FOR VALUES IN (1);
INSERT INTO t0 VALUES (2, 1);

-- @follow

-- @commit
INSERT INTO t0 VALUES (3, 1);
