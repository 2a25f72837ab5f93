"""Batches bring what the row path brings, and say what it says when something does not fit."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.errors import ConflictError, ConnectionLost, EngineError
from migrations_app.engine.replication.row_path import RowPath
from tests.postgres.sync_kit import APPLY, Pair, force_path


@pytest.fixture
def pair(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Pair:
    return Pair(source_cluster, target_cluster, source_db, target_db)


@pytest.fixture(autouse=True)
def batches(monkeypatch: pytest.MonkeyPatch) -> None:
    force_path(monkeypatch, "batches")


@pytest.fixture
def by_rows(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Which batches, or tables of them, went row by row."""
    seen: list[object] = []
    real = RowPath.apply

    def apply(self: RowPath, batch: Any, only: Any = None) -> None:
        seen.append(only)
        real(self, batch, only)

    monkeypatch.setattr(RowPath, "apply", apply)
    return seen


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches so small that they end within transactions too."""
    monkeypatch.setattr(f"{APPLY}._WORTH_CHANGES", 30)
    monkeypatch.setattr(f"{APPLY}._MOST_CHANGES", 90)
    monkeypatch.setattr("migrations_app.engine.replication.stream._READ_BYTES", 3000)


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


ORDERS = "CREATE TABLE orders (id int PRIMARY KEY, what text, n int)"


def test_many_changes_take_few_statements(pair: Pair, by_rows: list[object]) -> None:
    pair.build(ORDERS + "; CREATE TABLE log (n int)")
    pair.at_source(
        "INSERT INTO orders SELECT g, 'x', 0 FROM generate_series(1, 500) g",
        "INSERT INTO log SELECT generate_series(1, 9)",
        "UPDATE orders SET n = n + 1",
        "DELETE FROM orders WHERE id % 2 = 0",
    )
    pair.catch_up()
    pair.assert_equal()
    assert by_rows == []


def test_a_transaction_larger_than_a_batch_is_committed_as_one(pair: Pair, small: None, by_rows: list[object]) -> None:
    pair.build(ORDERS)
    pair.at_source("INSERT INTO orders SELECT g, 'x', 0 FROM generate_series(1, 2000) g", "UPDATE orders SET n = 1")
    pair.catch_up()
    pair.assert_equal()
    commits = "SELECT count(DISTINCT xmin::text) FROM orders"
    assert int(pair.value(commits, "target")) > 1  # savepoints: several batches
    assert pair.value("SELECT n FROM towpath.bookmark", "target") <= 3
    assert by_rows == []


def test_only_the_tables_that_need_it_go_row_by_row(pair: Pair, by_rows: list[object]) -> None:
    pair.build(ORDERS + "; CREATE TABLE bag (n int); ALTER TABLE bag REPLICA IDENTITY FULL")
    pair.at_source("INSERT INTO bag VALUES (1), (1), (2); INSERT INTO orders VALUES (1)", "DELETE FROM bag WHERE n = 2")
    pair.catch_up()
    pair.assert_equal()
    oid = pair.value("SELECT 'bag'::regclass::oid::bigint")
    assert by_rows == [{oid}]


@pytest.mark.parametrize("change", ["UPDATE orders SET n = 1", "DELETE FROM orders", "INSERT INTO orders VALUES (9)"])
def test_few_changes_that_are_committed_at_once_commit_nothing_when_one_does_not_fit(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    force_path(monkeypatch, "rows")
    pair.build(ORDERS + "; CREATE TABLE other (id int PRIMARY KEY)")
    pair.at_source("INSERT INTO orders VALUES (1)")
    pair.catch_up()
    pair.at_target("DELETE FROM orders; INSERT INTO orders VALUES (9)")
    before = pair.value("SELECT lsn::text FROM towpath.bookmark", "target")
    pair.at_source(f"BEGIN; INSERT INTO other VALUES (1); {change}; COMMIT")
    with pytest.raises(ConflictError):
        pair.catch_up()
    assert pair.value("SELECT count(*) FROM other", "target") == 0
    assert pair.value("SELECT lsn::text FROM towpath.bookmark", "target") == before


def test_a_few_swallowed_inserts_are_seen_when_committed_at_once(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    force_path(monkeypatch, "rows")
    pair.build(ORDERS)
    with pair.syncing() as session:
        pair.at_target(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
            "CREATE TRIGGER no BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION no();"
            "ALTER TABLE orders ENABLE ALWAYS TRIGGER no"
        )
        pair.at_source("INSERT INTO orders VALUES (1), (2)")
        with pytest.raises(ConflictError, match=r"\(id=1\) stored no row"):
            session.advance()


def test_unique_values_that_change_hands_arrive(pair: Pair) -> None:
    pair.build("CREATE TABLE t (id int PRIMARY KEY, slug text UNIQUE)")
    pair.at_source("INSERT INTO t SELECT g, 's' || g FROM generate_series(1, 50) g")
    pair.catch_up()
    pair.at_source(
        "BEGIN; UPDATE t SET slug = 'tmp' WHERE id = 1;"
        " DO $$ BEGIN FOR i IN 2..50 LOOP UPDATE t SET slug = 's' || i - 1 WHERE id = i; END LOOP; END $$;"
        " UPDATE t SET slug = 's50' WHERE id = 1; COMMIT",
        "DELETE FROM t WHERE slug = 's7'; INSERT INTO t VALUES (60, 's7')",
    )
    pair.catch_up()
    pair.assert_equal()


def scenarios() -> Iterator[tuple[str, str, str]]:
    """What is on the target only, what changes on the source, and words of the message."""
    yield "INSERT INTO orders VALUES (7, 'foreign')", "INSERT INTO orders SELECT generate_series(1, 9)", "id=7"
    yield "DELETE FROM orders WHERE id = 103", "UPDATE orders SET n = 5", "(id=103) found no row"
    yield "DELETE FROM orders WHERE id = 103", "DELETE FROM orders", "(id=103) found no row"
    yield "DELETE FROM orders WHERE id = 103", "UPDATE orders SET id = id + 1000", "(id=103) found no row"
    yield "INSERT INTO orders VALUES (1105)", "UPDATE orders SET id = id + 1000", "update of public.orders (id=105)"
    yield (
        "INSERT INTO orders VALUES (5)",
        "INSERT INTO orders VALUES (5); DELETE FROM orders WHERE id = 5",
        "insert of public.orders (id=5)",
    )
    yield "ALTER TABLE orders ADD CHECK (n < 3)", "UPDATE orders SET n = id - 100", "check_check"


@pytest.mark.parametrize(("there", "change", "words"), scenarios())
def test_a_conflict_is_told_as_the_row_path_tells_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, there: str, change: str, words: str
) -> None:
    pair.build(ORDERS)
    pair.at_source("INSERT INTO orders SELECT g, 'x', 0 FROM generate_series(101, 109) g")
    pair.catch_up()
    position = pair.value("SELECT lsn::text FROM towpath.bookmark", "target")
    pair.at_target(there.replace("ADD CHECK", "ADD CONSTRAINT check_check CHECK"))
    pair.at_source(change)
    told = []
    for path in ("batches", "rows"):
        force_path(monkeypatch, path)
        with pytest.raises(ConflictError) as caught:
            pair.catch_up()
        told.append((caught.value.message, caught.value.hint, caught.value.code, caught.value.detail))
    assert told[0] == told[1]
    assert words in told[0][0]
    assert pair.value("SELECT lsn::text FROM towpath.bookmark", "target") == position


def test_a_conflict_late_in_a_large_transaction_takes_all_of_it_back(pair: Pair, small: None) -> None:
    pair.build(ORDERS)
    pair.catch_up()
    pair.at_target("INSERT INTO orders VALUES (1900, 'foreign')")
    pair.at_source("INSERT INTO orders SELECT g, 'x', 0 FROM generate_series(1, 2000) g")
    with pytest.raises(ConflictError, match="id=1900"):
        pair.catch_up()
    assert pair.value("SELECT count(*) FROM orders", "target") == 1
    pair.at_target("DELETE FROM orders")
    pair.catch_up()
    pair.assert_equal()


def test_a_table_whose_batch_failed_goes_row_by_row_for_a_while(pair: Pair, by_rows: list[object]) -> None:
    pair.build("CREATE TABLE t (id int PRIMARY KEY, slug int UNIQUE)")
    pair.at_source("INSERT INTO t VALUES (1, 1), (2, 2)")
    with pair.syncing() as session:
        session.advance(until=pair.insert_lsn())
        for _ in range(2):
            pair.at_source(
                "BEGIN; UPDATE t SET slug = 9 WHERE id = 1; UPDATE t SET slug = 1 WHERE id = 2;"
                " UPDATE t SET slug = 2 WHERE id = 1; COMMIT",
                "BEGIN; UPDATE t SET slug = 9 WHERE id = 1; UPDATE t SET slug = 2 WHERE id = 2;"
                " UPDATE t SET slug = 1 WHERE id = 1; COMMIT",
                "UPDATE t SET slug = slug + 100",
                "UPDATE t SET slug = slug - 100",
            )
            session.advance(until=pair.insert_lsn())
    pair.assert_equal()


def test_a_type_that_does_not_travel_in_binary_form_comes_as_text(pair: Pair) -> None:
    pair.build("CREATE TYPE spot AS (x int, y text); CREATE TABLE t (id int PRIMARY KEY, s spot, c regclass)")
    pair.at_source("INSERT INTO t VALUES (1, '(1,a)', 't'), (2, NULL, NULL)", "UPDATE t SET s = '(2,\"b c\")'")
    with pair.syncing() as session:
        session.advance(until=pair.insert_lsn())
    pair.assert_equal()


def test_a_stream_in_binary_form_is_opened_anew_when_such_a_type_comes_up(pair: Pair) -> None:
    pair.build("CREATE TYPE spot AS (x int, y text); CREATE TABLE t (id int PRIMARY KEY)")
    ddl = "ALTER TABLE t ADD COLUMN s spot"
    with pair.syncing() as session:
        session.advance(until=pair.insert_lsn())
        pair.at_source(ddl, "INSERT INTO t VALUES (1, '(1,a)')")
        pair.at_target(ddl)
        with pytest.raises(ConnectionLost) as caught:
            session.advance(until=pair.insert_lsn())
    assert caught.value.retryable
    pair.catch_up()
    pair.assert_equal()


def test_a_key_in_binary_form_is_told_as_text(pair: Pair) -> None:
    pair.build("CREATE TABLE t (id uuid, day date, PRIMARY KEY (id, day))")
    pair.at_source("INSERT INTO t VALUES ('0000000a-0000-0000-0000-000000000001', '2024-02-29')")
    pair.catch_up()
    pair.at_target("DELETE FROM t")
    pair.at_source("DELETE FROM t")
    with pytest.raises(EngineError, match=r"\(id=0000000a-0000-0000-0000-000000000001, day=2024-02-29\) found no row"):
        pair.catch_up()
