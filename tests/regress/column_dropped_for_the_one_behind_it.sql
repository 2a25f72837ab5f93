-- A column was dropped, and the one behind it got its name: the statement that was offered dropped that one's values.

-- @setup
CREATE TABLE t0 (id int PRIMARY KEY, v int, v_new int);
CREATE TABLE t1 (id int PRIMARY KEY, v int, w text, v_new int);

-- @commit
INSERT INTO t0 VALUES (1, 1, 10), (2, 2, 20);
INSERT INTO t1 VALUES (1, 1, 'w', 10), (2, 2, 'w', 20);

-- @follow

-- @commit
ALTER TABLE t0 DROP COLUMN v;
ALTER TABLE t0 RENAME COLUMN v_new TO v;
ALTER TABLE t1 DROP COLUMN v;
ALTER TABLE t1 RENAME COLUMN v_new TO v;
UPDATE t0 SET v = 30 WHERE id = 1;
UPDATE t1 SET v = 30 WHERE id = 1;

-- @follow

-- @commit
INSERT INTO t0 VALUES (3, 3);
INSERT INTO t1 VALUES (3, 'w', 3);
