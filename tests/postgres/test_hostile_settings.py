"""Settings of both databases in every pair: what is written one way there and read another way here arrives exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.cleaning import clean_up
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.states import StepName
from tests.comparator import differences
from tests.fakes import FakeControl, FakeStore, fake_ports
from tests.postgres.compare_kit import plan_for, running, server

pytestmark = pytest.mark.long

SOURCES = {
    "SQL, DMY": {"datestyle": "SQL, DMY", "intervalstyle": "sql_standard"},
    "German": {"datestyle": "German, YMD", "intervalstyle": "iso_8601", "timezone": "America/St_Johns"},
    "short": {"extra_float_digits": "-15", "bytea_output": "escape", "quote_all_identifiers": "on"},
    "zone": {"timezone": "Asia/Kathmandu", "intervalstyle": "postgres_verbose", "array_nulls": "off"},
    "client": {"client_encoding": "LATIN1", "standard_conforming_strings": "off", "backslash_quote": "on"},
    "names": {
        "search_path": "elsewhere, public",
        "transform_null_equals": "on",
        "default_text_search_config": "german",
    },
}
TARGETS = {
    "dates": {"datestyle": "SQL, MDY", "intervalstyle": "iso_8601", "timezone": "Pacific/Chatham"},
    "short": {"extra_float_digits": "-15", "bytea_output": "escape", "array_nulls": "off"},
    "client": {"client_encoding": "SQL_ASCII", "standard_conforming_strings": "off", "xmlbinary": "hex"},
    "names": {"search_path": "elsewhere, public", "transform_null_equals": "on", "row_security": "off"},
}
COLUMNS = "d date, z timestamptz, t timestamp, c timetz, i interval, f float8, r real, b bytea, a text[], v text"
VALUES = (
    "'2024-03-04', '2024-03-31 02:30+00', '0044-03-15 12:00 BC', '23:59:59.5+05:45',"
    " '-1 year 2 mons -3 days 04:05:06.7', 0.1::float8 + 0.2, 1e-45, '\\x00ff5c27',"
    " ARRAY['NULL', NULL, E'\\\\', 'ü'], E'a\\\\b''c'"
)
# An aclitem has no binary form: its table travels as text, the other one as it can.
SCRIPT = f"""
CREATE SCHEMA elsewhere;
CREATE FUNCTION elsewhere.lower(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1 || ''!''';
CREATE TABLE as_text (id int PRIMARY KEY, m aclitem, {COLUMNS});
CREATE TABLE as_is (id int PRIMARY KEY, {COLUMNS}, low text GENERATED ALWAYS AS (pg_catalog.lower(v)) STORED);
INSERT INTO as_text SELECT g, 'postgres=r/postgres', {VALUES} FROM generate_series(1, 5) g;
INSERT INTO as_is SELECT g, {VALUES} FROM generate_series(1, 5) g;
"""
CHANGES = f"""
INSERT INTO as_text VALUES (10, 'postgres=w/postgres', {VALUES});
INSERT INTO as_is VALUES (10, {VALUES});
UPDATE as_text SET d = d + 40, i = -i, f = -f / 3, b = b || '\\x0a', a = a || 'x'::text WHERE id < 3;
UPDATE as_is SET z = z + '1 day', t = t - '1 day'::interval, r = 3.4028235e38, v = v || E'\\n' WHERE id < 3;
DELETE FROM as_text WHERE id = 4; DELETE FROM as_is WHERE id = 4;
"""
PLAIN = "-c datestyle=ISO -c timezone=UTC -c search_path=public -c standard_conforming_strings=on"


def at(cluster: Cluster, database: str, script: str) -> None:
    arguments = {**cluster.arguments(database), "options": PLAIN, "client_encoding": "UTF8"}
    with psycopg.connect(**arguments, autocommit=True) as connection:
        connection.execute(script.encode())


def set_all(cluster: Cluster, database: str, settings: dict[str, str]) -> None:
    with cluster.connect() as connection:
        for name, value in settings.items():
            shown = value if name == "search_path" else f"'{value}'"
            connection.execute(f'ALTER DATABASE "{database}" SET {name} = {shown}'.encode())


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> Plan:
    at(source_cluster, source_db, SCRIPT)
    ends = server(source_cluster), server(target_cluster)
    return plan_for(*ends, source_db, target_db, incremental=True, work_dir=tmp_path)


@pytest.fixture
def ports(plan: Plan) -> Iterator[Ports]:
    made = fake_ports()
    yield made
    with running(replace(plan, epoch=99), Ports(control=FakeControl(), ledger=made.ledger, store=made.store)) as run:
        clean_up(run, keep_target_objects=True)


@pytest.mark.parametrize("there", TARGETS)
@pytest.mark.parametrize("here", SOURCES)
def test_every_value_arrives_exactly(
    here: str, there: str, plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    (database,) = plan.databases
    set_all(source_cluster, database.source_name, SOURCES[here])
    set_all(target_cluster, database.target_name, TARGETS[there])
    with Executor(plan, ports) as executor:
        for step in (StepName.SCHEMA, StepName.COPY, StepName.INDEX):
            assert executor.run(step).done
        at(source_cluster, database.source_name, CHANGES)
        cast(FakeControl, ports.control).complete = True
        for step in (StepName.COMPLETE, StepName.CLEANUP):
            assert executor.run(step).done
    comparisons = cast(FakeStore, ports.store).comparisons
    assert comparisons
    assert all(one.equal for one in comparisons)
    for cluster, name in ((source_cluster, database.source_name), (target_cluster, database.target_name)):
        at(cluster, "postgres", f'ALTER DATABASE "{name}" RESET ALL')  # the oracle reads both sides alike
    with source_cluster.connect(database.source_name) as one, target_cluster.connect(database.target_name) as other:
        assert differences(one, other, tables=["public.as_text", "public.as_is"]) == []
        ((count,),) = other.execute("SELECT count(*) FROM public.as_is").fetchall()
    assert count == 5
