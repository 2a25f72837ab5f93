-- A column was renamed, and a new one got its name: it was taken for a new one itself, and its values stayed where they were.
-- @options additions

-- @setup
CREATE TABLE t0 (id int PRIMARY KEY, v text);

-- @commit
INSERT INTO t0 VALUES (1, 'one'), (2, 'two');

-- @follow

-- @commit
ALTER TABLE t0 RENAME COLUMN v TO v_old;
ALTER TABLE t0 ADD COLUMN v text;
INSERT INTO t0 VALUES (3, 'three', 'new');

-- @follow

-- @commit
INSERT INTO t0 VALUES (4, 'four', 'new');
