-- A table that was called otherwise for a while stopped the sync for good, although it had its own name again.
-- @options

-- @setup
CREATE TABLE t0 (id int PRIMARY KEY, v text);

-- @commit
INSERT INTO t0 VALUES (1, 'before');

-- @commit
ALTER TABLE t0 RENAME TO away;
INSERT INTO away VALUES (2, 'meanwhile');
ALTER TABLE away RENAME TO t0;

-- @follow

-- @commit
UPDATE t0 SET v = 'after';
