"""Names that are meant to break quoting, paths, formats and pages are only names: in copy, sync and comparison."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from tests.acceptance.kit import Migration, World
from tests.acceptance.places import Place, drop_database, nothing_of_ours, quoted
from tests.comparator import differences
from tests.fakes import wait_until
from tests.hostile_names import NAMES, cut, literal

pytestmark = pytest.mark.long

DATABASES = [
    "%s",
    "d'b\"\\ {0}",
    "-d",
    "host=evil.example dbname=x",
    "ü🐘 ; --",
    "postgresql://u:p@evil.example/x",
    "..",
]


def definitions(name: str) -> list[str]:
    """Return statements that give this name to one object of every kind."""
    q = quoted(name)
    table, label = f"{q}.{q}", literal(name)
    # A table has a row type of its own name, and shares its namespace with indexes and sequences.
    enum, domain, serial = (f"{q}.{quoted(cut(name, mark))}" for mark in ("e", "d", "s"))
    return [
        f"CREATE SCHEMA {q}",
        f"CREATE TYPE {enum} AS ENUM ({label}, 'other')",
        f"CREATE DOMAIN {domain} AS text CONSTRAINT {q} CHECK (VALUE <> {literal(name + '!')})",
        f"CREATE SEQUENCE {serial}",
        f"CREATE FUNCTION {q}.{q}({q} text) RETURNS text IMMUTABLE LANGUAGE sql AS {literal('SELECT ' + q)}",
        f"CREATE TABLE {table} (id int CONSTRAINT {quoted(cut(name, 'k'))} PRIMARY KEY, {q} text DEFAULT {label},"
        f" e {enum} DEFAULT {label}, d {domain}, n bigint DEFAULT nextval({literal(serial)}),"
        f" CONSTRAINT {q} CHECK ({q} <> {literal(name + '?')}))",
        f"CREATE INDEX {quoted(cut(name, 'i'))} ON {table} ({q}, ({q}.{q}({q}))) WHERE {q} <> {label}",
        f"CREATE FUNCTION {q}.{quoted(cut(name, 't'))}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        f"CREATE TRIGGER {q} BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {q}.{quoted(cut(name, 't'))}()",
        f"CREATE VIEW {q}.{quoted(cut(name, 'v'))} AS SELECT {q} FROM {table}",
        f"CREATE STATISTICS {q}.{q} ON id, {q} FROM {table}",
        f"CREATE TABLE {q}.{quoted(cut(name, 'c'))} ({q} text, parent int CONSTRAINT {q} REFERENCES {table})",
        f"COMMENT ON TABLE {table} IS {label}",
        f"COMMENT ON COLUMN {table}.{q} IS {label}",
    ]


def rows(name: str, first: int) -> list[str]:
    """Return statements that insert, update and delete below this name; `first` keeps the keys apart."""
    q, text = quoted(name), literal(name)
    table, child = f"{q}.{q}", f"{q}.{quoted(cut(name, 'c'))}"
    return [
        f"INSERT INTO {table} (id, {q}, d) SELECT g, {text} || g, {text} FROM generate_series({first}, {first} + 4) g",
        f"INSERT INTO {table} (id, e) VALUES ({first} + 5, 'other')",
        f"UPDATE {table} SET {q} = {text} || 'changed' WHERE id = {first}",
        f"UPDATE {table} SET id = {first} + 9, e = 'other' WHERE id = {first} + 1",
        f"DELETE FROM {table} WHERE id = {first} + 2",
        f"INSERT INTO {child} VALUES ({text}, {first}), ({text}, NULL), ({text}, NULL)",
        f"UPDATE {child} SET {q} = NULL WHERE parent = {first}",
        f"DELETE FROM {child} WHERE parent IS NULL",
        f"INSERT INTO {child} VALUES ({text}, {first} + 3)",
    ]


def run_all(connection: psycopg.Connection[Any], statements: list[str]) -> None:
    with connection.transaction():
        for statement in statements:
            connection.execute(statement.encode())


def build(cluster: Cluster, database: str, names: list[str]) -> Place:
    with cluster.connect() as connection:
        connection.execute(f"CREATE DATABASE {quoted(database)}".encode())
    place = Place(cluster, database)
    with place.connect() as connection:
        run_all(connection, ["SET LOCAL check_function_bodies = off", *(s for n in names for s in definitions(n))])
        run_all(connection, [statement for name in names for statement in rows(name, 100)])
    place.remember()
    return place


@pytest.fixture(scope="module")
def places(world: World) -> Iterator[list[tuple[Place, Place]]]:
    """Databases with hostile names; the first holds every name, the others a few."""
    targets = [Place(world.target, name) for name in DATABASES]
    try:
        sources = [
            build(world.source, name, NAMES if number == 0 else NAMES[number::9])
            for number, name in enumerate(DATABASES)
        ]
        yield list(zip(sources, targets, strict=True))
    finally:
        for place in [*(Place(world.source, name) for name in DATABASES), *targets]:
            drop_database(place)


@pytest.fixture(scope="module")
def completed(world: World, places: list[tuple[Place, Place]]) -> Iterator[Migration]:
    """Migrate all of them in one task, with changes below every name during the sync."""
    (source, target), *others = places
    migration = Migration(world, source, target, more=tuple(place.name for place, _ in others))
    migration.start()
    migration.until("ready", seconds=120)
    for number, (place, _) in enumerate(places):
        with place.connect() as connection:
            for name in NAMES if number == 0 else NAMES[number::9]:
                run_all(connection, rows(name, 200))
    applied = "SELECT min(rows_applied) FROM migrations_app_taskdatabase WHERE task_id = ?"
    wait_until(
        lambda: world.installation.query(applied, migration.id)[0][0] >= 9 * len(NAMES[1::9]),
        60,
        "changes in every database",
    )
    migration.complete(seconds=120)
    yield migration
    migration.close()


@pytest.mark.parametrize("number", range(len(DATABASES)))
def test_everything_below_hostile_names_arrives(
    completed: Migration, places: list[tuple[Place, Place]], number: int
) -> None:
    source, target = places[number]
    with source.connect() as one, target.connect() as other:
        assert differences(one, other) == []


def test_every_hostile_table_was_compared_by_the_product(completed: Migration, world: World) -> None:
    rows_ = world.installation.query(
        "SELECT equal, tables_count FROM migrations_app_comparisonresult WHERE task_id = ?", completed.id
    )
    assert {bool(equal) for equal, _ in rows_} == {True}
    assert len(rows_) >= len(DATABASES)
    assert sorted(count for _, count in rows_)[-1] == 2 * len(NAMES)


def test_nothing_of_ours_is_left_beside_hostile_names(completed: Migration, places: list[tuple[Place, Place]]) -> None:
    for source, target in places:
        # A schema and tables of the user's are called towpath_ there: they must not be taken for ours.
        nothing_of_ours(source, target)


def test_the_command_line_shows_hostile_names(completed: Migration, world: World) -> None:
    done = world.installation.manage("task", "show", completed.id)
    assert done.returncode == 0, done.stderr
    assert "completed" in done.stdout
    assert "\x1b" not in done.stdout


def test_no_log_line_was_broken_by_a_name(completed: Migration, world: World) -> None:
    for line in world.installation.logs().splitlines():
        assert not any(mark in line for mark in "\x00\x01\x1b")
