-- Copying a table again dropped the column that had been renamed, which the target refused for the generated one.
-- @options copy-again

-- @setup
CREATE TABLE t0 (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED, v text);

-- @commit
INSERT INTO t0 (id, n) VALUES (1, 1);

-- @follow

-- @commit
ALTER TABLE t0 RENAME COLUMN n TO m;
UPDATE t0 SET m = 5;

-- @commit
ALTER TABLE t0 DROP COLUMN v;
UPDATE t0 SET m = 7;
