-- One column took the name of another that had stepped aside: the statements that were offered left the old rows of the
-- latter NULL.
-- @options additions

-- @setup
CREATE TABLE t0 (id int PRIMARY KEY, v int, v_new int);

-- @commit
INSERT INTO t0 VALUES (1, 1, 10), (2, 2, 20);

-- @follow

-- @commit
ALTER TABLE t0 RENAME COLUMN v TO v_old;
ALTER TABLE t0 RENAME COLUMN v_new TO v;
UPDATE t0 SET v = 30 WHERE id = 1;

-- @follow

-- @commit
INSERT INTO t0 VALUES (3, 3, 30);
