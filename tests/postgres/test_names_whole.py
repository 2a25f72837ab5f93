"""More than 300 hostile names, each given to one object of some twenty kinds, through a whole migration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.executor import Executor
from migrations_app.engine.states import StepName, steps_for
from tests.comparator import differences
from tests.fakes import FakeControl, FakeStore, fake_ports
from tests.hostile_names import cut, literal, many_names, quoted
from tests.postgres.compare_kit import plan_for, server

pytestmark = pytest.mark.long

SEED = 20
NAMES = many_names(SEED)
# The kinds that bear the name itself; where two share a namespace, one has a letter in front.
KINDS = {
    "schema": "SELECT nspname FROM pg_namespace",
    "table": "SELECT relname FROM pg_class WHERE relkind = 'r'",
    "column": "SELECT attname FROM pg_attribute WHERE attnum > 0",
    "check": "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid <> 0",
    "foreign key": "SELECT conname FROM pg_constraint WHERE contype = 'f'",
    "check of a domain": "SELECT conname FROM pg_constraint WHERE contype = 'c' AND contypid <> 0",
    "label": "SELECT enumlabel FROM pg_enum",
    "function": "SELECT proname FROM pg_proc",
    "argument": "SELECT unnest(proargnames) FROM pg_proc",
    "trigger": "SELECT tgname FROM pg_trigger",
    "rule": "SELECT rulename FROM pg_rewrite",
    "policy": "SELECT polname FROM pg_policy",
    "statistics": "SELECT stxname FROM pg_statistic_ext",
    "collation": "SELECT collname FROM pg_collation",
    "text search configuration": "SELECT cfgname FROM pg_ts_config",
    "text search dictionary": "SELECT dictname FROM pg_ts_dict",
    "operator family": "SELECT opfname FROM pg_opfamily",
    "conversion": "SELECT conname FROM pg_conversion",
    "foreign data wrapper": "SELECT fdwname FROM pg_foreign_data_wrapper",
    "foreign server": "SELECT srvname FROM pg_foreign_server",
    "event trigger": "SELECT evtname FROM pg_event_trigger",
    "comment": "SELECT description FROM pg_description",
}
# Those with a letter in front.
MARKED = {
    "enum": ("e", "SELECT typname FROM pg_type WHERE typtype = 'e'"),
    "domain": ("d", "SELECT typname FROM pg_type WHERE typtype = 'd'"),
    "composite type": ("t", "SELECT relname FROM pg_class WHERE relkind = 'c'"),
    "sequence": ("s", "SELECT relname FROM pg_class WHERE relkind = 'S'"),
    "primary key": ("k", "SELECT conname FROM pg_constraint WHERE contype = 'p'"),
    "index": ("i", "SELECT relname FROM pg_class WHERE relkind = 'i'"),
    "view": ("v", "SELECT relname FROM pg_class WHERE relkind = 'v'"),
    "materialized view": ("m", "SELECT relname FROM pg_class WHERE relkind = 'm'"),
    "partitioned table": ("p", "SELECT relname FROM pg_class WHERE relkind = 'p'"),
    "partition": ("o", "SELECT relname FROM pg_class WHERE relispartition"),
}


def definitions(name: str) -> list[str]:
    """Return statements that give this name to one object of every kind."""
    q, label = quoted(name), literal(name)
    place = {kind: f"{q}.{quoted(cut(name, mark))}" for kind, (mark, _) in MARKED.items()}
    table, key, index = f"{q}.{q}", quoted(cut(name, "k")), quoted(cut(name, "i"))
    return [
        f"CREATE SCHEMA {q}",
        f"CREATE TYPE {place['enum']} AS ENUM ({label}, 'other')",
        f"CREATE DOMAIN {place['domain']} AS text CONSTRAINT {q} CHECK (VALUE <> {literal(name + '!')})",
        f"CREATE TYPE {place['composite type']} AS ({q} {place['enum']})",
        f"CREATE SEQUENCE {place['sequence']} START 7",
        f"CREATE FUNCTION {q}.{q}({q} text) RETURNS text IMMUTABLE LANGUAGE sql AS {literal('SELECT ' + q)}",
        f"CREATE FUNCTION {q}.{quoted(cut(name, 'f'))}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        f"CREATE TABLE {table} (id int CONSTRAINT {key} PRIMARY KEY, {q} text DEFAULT {label}, e {place['enum']},"
        f" d {place['domain']}, n bigint DEFAULT nextval({literal(place['sequence'])}), parent int,"
        f" CONSTRAINT {q} CHECK ({q} <> {literal(name + '?')}))",
        f"CREATE INDEX {index} ON {table} ({q}, ({q}.{q}({q}))) WHERE {q} <> {label}",
        f"CREATE TRIGGER {q} BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {q}.{quoted(cut(name, 'f'))}()",
        f"CREATE RULE {q} AS ON DELETE TO {table} WHERE old.{q} = {label} DO INSTEAD NOTHING",
        f"CREATE POLICY {q} ON {table} USING ({q} = {label})",
        f"CREATE STATISTICS {q}.{q} ON id, {q} FROM {table}",
        f"CREATE VIEW {place['view']} AS SELECT {q} FROM {table}",
        f"CREATE TABLE {place['partitioned table']} ({q} text, i int) PARTITION BY LIST ({q})",
        f"CREATE TABLE {place['partition']} PARTITION OF {place['partitioned table']} FOR VALUES IN ({label})",
        f"CREATE TABLE {q}.{quoted(cut(name, 'c'))} ({q} int CONSTRAINT {q} REFERENCES {table})",
        f"CREATE COLLATION {q}.{q} (lc_collate = 'C', lc_ctype = 'C')",
        f"CREATE TEXT SEARCH DICTIONARY {q}.{q} (TEMPLATE = pg_catalog.simple)",
        f"CREATE TEXT SEARCH CONFIGURATION {q}.{q} (COPY = pg_catalog.english)",
        f"ALTER TEXT SEARCH CONFIGURATION {q}.{q} ALTER MAPPING FOR asciiword WITH {q}.{q}",
        f"CREATE OPERATOR FAMILY {q}.{q} USING btree",
        f"CREATE CONVERSION {q}.{q} FOR 'LATIN1' TO 'UTF8' FROM pg_catalog.iso8859_1_to_utf8",
        f"CREATE FOREIGN DATA WRAPPER {q}",
        f"CREATE SERVER {q} FOREIGN DATA WRAPPER {q} OPTIONS (it {label})",
        f"CREATE EVENT TRIGGER {q} ON sql_drop EXECUTE FUNCTION public.nothing()",
        f"COMMENT ON TABLE {table} IS {label}",
        f"COMMENT ON COLUMN {table}.{q} IS {label}",
        f"INSERT INTO {table} (id, {q}, e, d) VALUES (1, {label}, {label}, {label}), (2, DEFAULT, 'other', NULL)",
        f"INSERT INTO {place['partitioned table']} VALUES ({label}, 1)",
        f"CREATE MATERIALIZED VIEW {place['materialized view']} AS SELECT {q} FROM {table}",
    ]


@dataclass(frozen=True)
class Ends:
    """Both databases after the migration."""

    source: psycopg.Connection[Any]
    target: psycopg.Connection[Any]
    told: list[Any]


@pytest.fixture(scope="module")
def ends(source_cluster: Cluster, target_cluster: Cluster, tmp_path_factory: Any) -> Iterator[Ends]:
    """Build everything on 16 and migrate it to 18."""
    name = "hostile names"
    with source_cluster.connect() as one, target_cluster.connect() as other:
        for connection in (one, other):
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
        one.execute(f'CREATE DATABASE "{name}"'.encode())
    plan = plan_for(
        server(source_cluster), server(target_cluster), name, name, work_dir=cast(Path, tmp_path_factory.mktemp("x"))
    )
    ports = fake_ports()
    cast(FakeControl, ports.control).complete = True
    cast(FakeStore, ports.store).targets[name] = name
    with source_cluster.connect(name) as source:
        source.execute("CREATE FUNCTION nothing() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
        source.execute("SET check_function_bodies = off")
        for statement in (one for name in NAMES for one in definitions(name)):
            source.execute(statement.encode())
        with Executor(plan, ports) as executor:
            for step in steps_for(incremental=False):
                if step is not StepName.CHECK:
                    assert executor.run(step).done
        source.execute("SELECT 1")
        with target_cluster.connect(name) as target:
            yield Ends(
                source, target, [note for notes in cast(FakeStore, ports.store).notes.values() for note in notes]
            )
    for cluster in (source_cluster, target_cluster):
        with cluster.connect() as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def test_there_are_more_than_300_names_of_more_than_12_kinds() -> None:
    assert len(NAMES) == len(set(NAMES)) > 300
    assert len(KINDS) + len(MARKED) > 12
    assert max(len(name.encode()) for name in NAMES) == 63


def test_nothing_below_hostile_names_differs(ends: Ends) -> None:
    assert differences(ends.source, ends.target, rights=True) == []


def test_nothing_is_told_of_hostile_names(ends: Ends) -> None:
    assert ends.told == []


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_name_arrives_as_the_name_of_an_object(ends: Ends, kind: str) -> None:
    found = {row[0] for row in ends.target.execute(KINDS[kind].encode()).fetchall()}
    assert set(NAMES) - found == set()


@pytest.mark.parametrize("kind", list(MARKED))
def test_every_name_arrives_with_a_letter_in_front(ends: Ends, kind: str) -> None:
    mark, query = MARKED[kind]
    found = {row[0] for row in ends.target.execute(query.encode()).fetchall()}
    assert {cut(name, mark) for name in NAMES} - found == set()
