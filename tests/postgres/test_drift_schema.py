"""A schema gets another name on the source: told as that, and followed by one statement."""

from __future__ import annotations

import pytest

from migrations_app.engine.drift import ChangeKind, Doubt
from migrations_app.engine.plan import Side
from migrations_app.engine.ports import NEVER, Kind, LedgerItem
from migrations_app.engine.replication import schema_followed
from migrations_app.engine.replication.names_followed import TableRenamed
from tests.postgres import drift_kit
from tests.postgres.drift_kit import allow, stopped
from tests.postgres.sync_kit import Pair

pair = drift_kit.pair

TABLES = (
    "CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('sad', 'ok'); CREATE TABLE s.a (id int PRIMARY KEY, v s.mood);"
    " CREATE TABLE s.b (id serial PRIMARY KEY, v text);"
    " CREATE TABLE s.p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);"
    " CREATE TABLE s.p1 PARTITION OF s.p FOR VALUES FROM (0) TO (100)"
)
ROWS = "INSERT INTO s.a VALUES (1, 'ok'); INSERT INTO s.b (v) VALUES ('b'); INSERT INTO s.p VALUES (1)"
STATEMENT = 'ALTER SCHEMA "s" RENAME TO "z"'
MOVED = ["ALTER SCHEMA s RENAME TO z", "INSERT INTO z.b (v) VALUES ('new')", "INSERT INTO z.a VALUES (2, 'sad')"]


def followed(pair: Pair) -> None:
    """Sync until the schema has its new name, then to the end of the stream."""
    with pytest.raises(TableRenamed):
        pair.catch_up()
    pair.catch_up()
    pair.assert_equal()


def test_one_statement_is_offered_for_a_whole_schema(pair: Pair) -> None:
    pair.build(TABLES, ROWS)
    pair.at_source("INSERT INTO s.a VALUES (3, 'ok')", *MOVED, "INSERT INTO z.p VALUES (5)")
    drift = stopped(pair)
    assert [(change.kind, change.old, change.new) for change in drift.changes] == [
        (ChangeKind.SCHEMA_RENAMED, "s", "z")
    ]
    assert (drift.statements, drift.lsn, drift.doubt) == ((STATEMENT,), NEVER, Doubt.NONE)
    allow(pair, drift)
    followed(pair)
    assert {state.schema for state in pair.store.tables(pair.source_db)} == {"z"}
    assert [code for _, code, _ in pair.store.events] == ["DDL-APPLIED"]


def test_who_renamed_the_schema_on_the_target_himself_is_not_asked(pair: Pair) -> None:
    pair.build(TABLES, ROWS)
    pair.at_source(*MOVED)
    stopped(pair)
    pair.at_target("ALTER SCHEMA s RENAME TO z")
    followed(pair)


def test_a_worker_that_died_among_the_tables_of_a_schema_is_followed_by_one_that_ends_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.build(TABLES, ROWS)
    pair.at_source(*MOVED, "INSERT INTO z.p VALUES (5)")
    allow(pair, stopped(pair))
    write, calls = pair.store.renamed, [0]

    def dying(*values: object) -> None:
        calls[0] += 1
        if calls[0] > 1:
            raise KeyboardInterrupt
        write(*values)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(pair.store, "renamed", dying)
        with pytest.raises(KeyboardInterrupt):
            pair.catch_up()
    followed(pair)
    assert {state.schema for state in pair.store.tables(pair.source_db)} == {"z"}


def test_what_the_ledger_knows_of_the_schema_follows(pair: Pair) -> None:
    pair.build(TABLES, ROWS)
    side = {"side": Side.TARGET, "database": pair.target_db}
    pair.ports.ledger.intend(
        LedgerItem(**side, kind=Kind.SCHEMA, name="s", detail={"drop": "DROP SCHEMA s", "tag": "s"}),
        LedgerItem(
            **side, kind=Kind.OBJECT, schema="s", name="mood", detail={"drop": "DROP TYPE s.mood", "tag": "mood"}
        ),
        LedgerItem(**side, kind=Kind.TABLE, schema="s", name="a", detail={"drop": "DROP TABLE s.a", "tag": "a"}),
        LedgerItem(**side, kind=Kind.TABLE, schema="s", name="p", detail={"drop": "DROP TABLE s.p", "tag": "p"}),
        LedgerItem(
            **side, kind=Kind.OBJECT, schema="public", name="f", detail={"drop": "DROP FUNCTION public.f(s.mood)"}
        ),
        LedgerItem(**side, kind=Kind.OBJECT, schema="public", name="s", detail={"drop": "DROP VIEW public.s"}),
    )
    pair.at_source(*MOVED)
    allow(pair, stopped(pair))
    followed(pair)
    items = [item for item in pair.ports.ledger.items(Side.TARGET, pair.target_db) if item.kind is not Kind.BOOKMARK]
    assert sorted((item.kind.value, item.schema, item.name) for item in items) == [
        ("object", "public", "f"),
        ("object", "public", "s"),
        ("object", "z", "mood"),
        ("schema", "", "z"),
        ("table", "z", "a"),
        ("table", "z", "p"),
    ]
    assert not [item for item in items if " s." in item.detail["drop"] or item.detail["drop"].endswith(" s")]
    assert [item.detail["drop"] for item in items if item.schema == "public"] == [
        "DROP FUNCTION public.f(z.mood)",
        "DROP VIEW public.s",
    ]


@pytest.mark.parametrize(
    ("where", "ddl"),
    [
        ("target", "CREATE TABLE s.theirs (id int)"),
        ("target", "CREATE SCHEMA z"),
        ("source", "CREATE SCHEMA s"),
    ],
    ids=["their table", "the new name", "a schema of the old name"],
)
def test_tables_are_asked_about_one_by_one_where_the_schema_cannot_follow_as_a_whole(
    pair: Pair, where: str, ddl: str
) -> None:
    pair.build(TABLES, ROWS)
    pair.at_source(*MOVED)
    (pair.at_target if where == "target" else pair.at_source)(ddl)
    drift = stopped(pair)
    assert [change.kind for change in drift.changes] == [ChangeKind.TABLE_RENAMED]


def test_the_look_beside_the_stream_tells_the_schema_once(pair: Pair) -> None:
    pair.build(TABLES, ROWS)
    pair.at_source("ALTER SCHEMA s RENAME TO z")
    (said,) = [message for _, code, message in pair.look() if code == "SRC-DDL"]
    assert STATEMENT in said
    assert "Schema s of" in said


@pytest.mark.parametrize("theirs", ["", "CREATE TABLE s.theirs (id int)"], ids=["as a whole", "one by one"])
def test_a_schema_of_many_tables_is_looked_at_once(pair: Pair, monkeypatch: pytest.MonkeyPatch, theirs: str) -> None:
    pair.build(TABLES, *(f"CREATE TABLE s.t{number} (id int PRIMARY KEY)" for number in range(20)))
    pair.at_source("ALTER SCHEMA s RENAME TO z")
    if theirs:
        pair.at_target(theirs)
    asked: list[object] = []
    held, tables = schema_followed._held, pair.store.tables
    monkeypatch.setattr(schema_followed, "_held", lambda *values: asked.append(values) or held(*values))
    monkeypatch.setattr(pair.store, "tables", lambda name: asked.append(name) or tables(name))
    assert len([code for _, code, _ in pair.look() if code == "SRC-DDL"]) == (23 if theirs else 1)
    assert len(asked) < 15


OTHER = "CREATE TABLE public.o (id int PRIMARY KEY, m s.mood, n s.mood[])"
OTHER_FIRST = f"CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('sad', 'ok'); {OTHER}"


def test_a_type_of_a_renamed_schema_is_the_same_type_in_tables_of_other_schemas(pair: Pair) -> None:
    pair.build(TABLES, OTHER)
    pair.at_source("INSERT INTO o VALUES (1, 'ok')", "ALTER SCHEMA s RENAME TO z")
    pair.at_source("INSERT INTO o VALUES (2, 'sad', '{ok}')")
    drift = stopped(pair)
    assert (drift.changes[0].kind, drift.statements) == (ChangeKind.SCHEMA_RENAMED, (STATEMENT,))
    allow(pair, drift)
    followed(pair)


def test_the_look_beside_the_stream_tells_no_change_of_columns_whose_types_schema_has_another_name(pair: Pair) -> None:
    pair.build(OTHER_FIRST, TABLES.replace("CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('sad', 'ok');", ""))
    pair.at_source("ALTER SCHEMA s RENAME TO z")
    assert [message for _, code, message in pair.look() if code == "SRC-DDL" and "Schema s of" not in message] == []


ONLY_TYPES = (
    "CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('sad', 'ok'); CREATE TABLE a (id int PRIMARY KEY, m s.mood);"
    " CREATE TABLE b (id int PRIMARY KEY, n s.mood[])"
)


@pytest.mark.parametrize("first", ["INSERT INTO a VALUES (2, 'sad')", "INSERT INTO b VALUES (2, '{ok}')"])
def test_a_renamed_schema_that_holds_only_types_is_told_and_followed_as_that(pair: Pair, first: str) -> None:
    pair.build(ONLY_TYPES)
    pair.ports.ledger.intend(LedgerItem(side=Side.TARGET, database=pair.target_db, kind=Kind.SCHEMA, name="s"))
    pair.at_source("INSERT INTO a VALUES (1, 'ok')", "ALTER SCHEMA s RENAME TO z", first)
    drift = stopped(pair)
    assert (drift.changes[0].kind, drift.statements, drift.lsn) == (ChangeKind.SCHEMA_RENAMED, (STATEMENT,), NEVER)
    allow(pair, drift)
    followed(pair)
    assert [item.name for item in pair.ports.ledger.items(kinds={Kind.SCHEMA})] == ["z"]
    assert [message.split(" of ")[0] for _, code, message in pair.store.events if code == "DDL-APPLIED"] == ["Schema s"]


def test_the_look_beside_the_stream_tells_once_that_a_schema_of_types_has_another_name(pair: Pair) -> None:
    pair.build(ONLY_TYPES)
    pair.look()
    pair.at_source("ALTER SCHEMA s RENAME TO z")
    (said,) = [message for _, code, message in pair.look() if code == "SRC-DDL"]
    assert STATEMENT in said
    assert not [message for _, code, message in pair.look() if code == "SRC-DDL"]


@pytest.mark.parametrize(
    "ddl",
    [
        "CREATE SCHEMA z; ALTER TYPE s.mood SET SCHEMA z",
        "ALTER SCHEMA s RENAME TO z; CREATE SCHEMA s",
        "ALTER SCHEMA s RENAME TO z; DROP TYPE z.further",
    ],
    ids=["the type moved", "a schema of the old name", "a type is gone"],
)
def test_types_of_a_schema_that_was_not_renamed_as_a_whole_are_told_as_other_types(pair: Pair, ddl: str) -> None:
    pair.build(ONLY_TYPES, "CREATE TYPE s.further AS (x int)")
    pair.at_source(ddl, "INSERT INTO a VALUES (2, 'sad')")
    assert [change.kind for change in stopped(pair).changes] == [ChangeKind.RETYPED]


def test_a_schema_of_types_is_followed_after_an_earlier_look_too(pair: Pair) -> None:
    pair.build(ONLY_TYPES)
    pair.look()
    pair.at_source("INSERT INTO a VALUES (1, 'ok')", "ALTER SCHEMA s RENAME TO z", "INSERT INTO a VALUES (2, 'sad')")
    allow(pair, stopped(pair))
    with pytest.raises(TableRenamed):
        pair.look()
    pair.catch_up()
    pair.assert_equal()
