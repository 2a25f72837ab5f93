"""The batch path under random changes: whatever comes, the target ends as the source is."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.postgres import batches_kit
from tests.postgres.sync_kit import Pair

# Fixtures that stand in the kit.
pair = batches_kit.pair
batches = batches_kit.batches
small = batches_kit.small


TABLES = """
CREATE TYPE mood AS ENUM ('glad', 'sad', 'so "so", \\');
CREATE DOMAIN code AS varchar(9) CHECK (length(VALUE) > 0);
CREATE TABLE plain (id int PRIMARY KEY, n bigint, name text, big text, at timestamptz, ok bool);
ALTER TABLE plain ALTER big SET STORAGE EXTERNAL;
CREATE TABLE pairs (a numeric, b text, n int, PRIMARY KEY (a, b));
CREATE TABLE labels (id uuid PRIMARY KEY, m mood, c code, tags text[], day date, r int4range, j jsonb, b bit(3),
  ch char(5), i interval, p point, ip inet, money numeric(8,2), f float4, d float8, raw bytea, s "char", t time, o oid);
CREATE TABLE singles (id int PRIMARY KEY, slug text UNIQUE, n int,
  EXCLUDE USING btree (n WITH =) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE made (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int,
  twice int GENERATED ALWAYS AS (n * 2) STORED);
CREATE TABLE bag (n int, v text);
ALTER TABLE bag REPLICA IDENTITY FULL;
CREATE TABLE log (n int, v text);
CREATE TABLE whole (id int PRIMARY KEY, n int, big text);
ALTER TABLE whole ALTER big SET STORAGE EXTERNAL;
ALTER TABLE whole REPLICA IDENTITY FULL;
CREATE TABLE parts (id int, n int, v text, PRIMARY KEY (id, n)) PARTITION BY LIST (n);
CREATE TABLE parts_0 PARTITION OF parts FOR VALUES IN (0);
CREATE TABLE parts_1 (v text, n int NOT NULL, id int NOT NULL);
ALTER TABLE parts ATTACH PARTITION parts_1 FOR VALUES IN (1);
"""

Statement = tuple[str, tuple[Any, ...]]


class Dice:
    """Makes random changes of all tables."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._makers: list[Callable[[], Statement]] = [
            self.plain, self.plain, self.plain, self.pairs, self.labels, self.singles, self.made, self.bag, self.log,
            self.whole, self.parts,
        ]  # fmt: skip

    def __call__(self, *choices: Any) -> Any:
        return self._random.choice(choices)

    def small(self) -> int:
        return self._random.randrange(12)

    def transaction(self) -> list[Statement]:
        """Statements of one transaction; a few are whole savepoints that are rolled back."""
        found: list[Statement] = []
        for _ in range(self._random.randrange(1, 12)):
            statement = self(*self._makers)()
            if self._random.random() < 0.1:
                found += [("SAVEPOINT s", ()), statement, ("ROLLBACK TO s", ())]
            else:
                found.append(statement)
        if self._random.random() < 0.02:
            found.append((self("TRUNCATE plain, log", "TRUNCATE made RESTART IDENTITY", "TRUNCATE parts_1"), ()))
        return found

    def text(self) -> str | None:
        return self(None, "", "x", "a\tb\\n\n'\"{},", "ü🐘", "NULL", "w" * 50)

    def big(self) -> str | None:
        return self(None, "short", self("p", "q") * 9000)

    def plain(self) -> Statement:
        values = (self.small(), self._random.randrange(-(2**60), 2**60), self.text(), self.big())
        return self(
            ("INSERT INTO plain VALUES (%s, %s, %s, %s, now(), true)", values),
            ("UPDATE plain SET n = n + 1", ()),
            ("UPDATE plain SET name = %s, ok = NOT ok WHERE id = %s", (self.text(), self.small())),
            ("UPDATE plain SET big = %s WHERE id = %s", (self.big(), self.small())),
            ("UPDATE plain SET id = %s WHERE id = %s", (self.small(), self.small())),
            ("UPDATE plain SET id = id + 20 WHERE id < 20", ()),
            ("UPDATE plain SET id = id - 20 WHERE id >= 20", ()),
            ("DELETE FROM plain WHERE id = %s", (self.small(),)),
            ("INSERT INTO plain SELECT g, g FROM generate_series(100, 160) g ON CONFLICT (id) DO NOTHING", ()),
            ("DELETE FROM plain WHERE id BETWEEN 100 AND 150", ()),
        )

    def pairs(self) -> Statement:
        key = (self("1", "1.0", "1.00", "2", "NaN", "-3.5"), self("x", "", "y"))
        return self(
            ("INSERT INTO pairs VALUES (%s, %s, 1)", key),
            ("UPDATE pairs SET n = n + 1", ()),
            ("UPDATE pairs SET a = %s WHERE b = %s", key),
            ("DELETE FROM pairs WHERE a = %s AND b = %s", key),
        )

    def labels(self) -> Statement:
        key = f"00000000-0000-0000-0000-00000000000{self._random.randrange(10)}"
        return self(
            (
                "INSERT INTO labels VALUES (%s, %s, %s, %s, '2024-02-29', '[1,5)', '{\"k\": [1, null]}', '101', 'ab',"
                " '1 mon -2 days 03:04:05.6', '(1,2)', '10.0.0.0/8', 12.50, 1.1, 'NaN', '\\x00ff', 'x', '24:00', 77)",
                (key, self("glad", "sad", 'so "so", \\'), self(None, "c"), self(None, [], ["a", None, 'b"{'])),
            ),
            ("UPDATE labels SET tags = %s, r = 'empty', b = NULL, ch = 'c' WHERE id = %s", (["z"], key)),
            ("UPDATE labels SET m = NULL, f = -0.0, i = '-1 year', j = 'null' WHERE id = %s", (key,)),
            ("DELETE FROM labels WHERE id = %s", (key,)),
        )

    def singles(self) -> Statement:
        n = self._random.randrange(10**6)
        return self(
            ("INSERT INTO singles VALUES (%s, %s, %s)", (self.small(), self("a", "b", "c", None), n)),
            ("UPDATE singles SET slug = %s WHERE id = %s", (self("a", "b", "c"), self.small())),
            ("UPDATE singles SET slug = CASE slug WHEN 'a' THEN 'tmp' ELSE slug END", ()),
            ("UPDATE singles SET slug = CASE slug WHEN 'tmp' THEN 'b' ELSE slug END", ()),
            ("DELETE FROM singles WHERE slug = %s", (self("a", "b", "c"),)),
        )

    def made(self) -> Statement:
        return self(
            ("INSERT INTO made (n) VALUES (%s)", (self.small(),)),
            ("UPDATE made SET n = n + 1", ()),
            ("DELETE FROM made WHERE n %% 3 = 0", ()),
        )

    def bag(self) -> Statement:
        return self(
            ("INSERT INTO bag VALUES (%s, 'same')", (self(1, 2, None),)),
            ("UPDATE bag SET v = 'x' WHERE ctid = (SELECT min(ctid) FROM bag)", ()),
            ("DELETE FROM bag WHERE ctid = (SELECT max(ctid) FROM bag)", ()),
        )

    def log(self) -> Statement:
        return "INSERT INTO log SELECT g, %s FROM generate_series(1, 5) g", (self.text(),)

    def whole(self) -> Statement:
        return self(
            ("INSERT INTO whole VALUES (%s, 1, %s)", (self.small(), self.big())),
            ("UPDATE whole SET n = n + 1", ()),
            ("UPDATE whole SET id = %s WHERE id = %s", (self.small(), self.small())),
            ("DELETE FROM whole WHERE id = %s", (self.small(),)),
        )

    def parts(self) -> Statement:
        return self(
            ("INSERT INTO parts VALUES (%s, %s, %s)", (self.small(), self(0, 1), self.text())),
            ("UPDATE parts SET n = 1 - n WHERE id = %s", (self.small(),)),
            ("UPDATE parts SET v = %s", (self.text(),)),
            ("DELETE FROM parts WHERE id = %s", (self.small(),)),
        )


def play(pair: Pair, seed: int, transactions: int) -> None:
    """Run random transactions on the source; a statement that a constraint refuses is left out."""
    dice = Dice(seed)
    with pair.source.connect(pair.source_db) as connection:
        for _ in range(transactions):
            with connection.transaction():
                for query, values in dice.transaction():
                    _try(connection, query, values)


def _try(connection: psycopg.Connection[Any], query: str, values: tuple[Any, ...]) -> None:
    if query.startswith(("SAVEPOINT", "ROLLBACK")):
        connection.execute(query.encode())
        return
    try:
        with connection.transaction():
            connection.execute(query.encode(), values)
    except psycopg.errors.IntegrityError:
        return


@pytest.fixture(params=["binary", "text"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """In which form values travel."""
    if request.param == "text":
        monkeypatch.setattr("migrations_app.engine.replication.session._BINARY_SINCE", 10**9)
    return str(request.param)


@pytest.mark.parametrize("seed", [1, 2])
def test_random_changes_arrive(pair: Pair, small: None, form: str, seed: int) -> None:
    print(f"seed {seed}, values as {form}")
    pair.build(TABLES)
    play(pair, seed, 120)
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 30))
def test_many_random_changes_arrive(pair: Pair, small: None, form: str, seed: int) -> None:
    print(f"seed {seed}, values as {form}")
    pair.build(TABLES)
    for part in range(4):
        play(pair, seed * 100 + part, 300)
        pair.catch_up()
        pair.assert_equal()
