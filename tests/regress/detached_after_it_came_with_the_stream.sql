-- A partition that came while the sync ran left the publication when it was detached: rows written then were missing.
-- @options additions

-- @setup
CREATE TABLE t0 (id int, n int, PRIMARY KEY (id, n)) PARTITION BY LIST (n);
CREATE TABLE t0_0 PARTITION OF t0 FOR VALUES IN (0);

-- @commit
CREATE TABLE t0_1 PARTITION OF t0 FOR VALUES IN (1);
INSERT INTO t0 VALUES (1, 1);

-- @follow

-- @commit
ALTER TABLE t0 DETACH PARTITION t0_1;

-- @commit
INSERT INTO t0_1 VALUES (2, 1);

-- @commit
ALTER TABLE t0 ATTACH PARTITION t0_1 FOR VALUES IN (1);
UPDATE t0 SET id = id + 10;
