"""What is written to unlogged tables and large objects of the source while Complete runs: no stream tells of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import psycopg
import pytest

from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import DatabasePlan, Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.states import StepName
from migrations_app.engine.steps import complete
from tests.fakes import FakeStore
from tests.postgres import complete_kit
from tests.postgres.complete_kit import begin, migrate

# Fixtures that stand in the kit.
plan = complete_kit.plan
ports = complete_kit.ports
source = complete_kit.source


def told(ports: Ports, code: str) -> list[str]:
    return [text for _, known, text in cast(FakeStore, ports.store).events if known == code]


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("INSERT INTO cache VALUES ('b', '2')", "public.cache"),
        ("UPDATE cache SET v = 'late'", "public.cache"),
        ("DELETE FROM cache", "public.cache"),
        ("SELECT lo_put(90001, 2, 'l')", "large objects"),
        ("SELECT lo_from_bytea(90003, 'new')", "large objects"),
        ("SELECT lo_unlink(90001)", "large objects"),
        ("VACUUM (FREEZE) cache, pg_largeobject; ANALYZE cache", ""),
    ],
)
def test_what_was_written_after_the_last_copy_is_told(
    plan: Plan,
    ports: Ports,
    source: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    statement: str,
    what: str,
) -> None:
    real = complete.limit_connections

    def writing(run: Run, database: DatabasePlan) -> None:
        for one in statement.split("; "):
            source.execute(one.encode())
        real(run, database)

    begin(plan, ports)
    monkeypatch.setattr(complete, "limit_connections", writing)
    migrate(plan, ports, StepName.COMPLETE, StepName.CLEANUP)
    late = told(ports, "SRC-LATE")
    assert [text for text in late if what and what in text] == late
    assert len(late) == bool(what)
    assert told(ports, "SRC-UNSEEN") == []


def test_a_table_that_cannot_be_seen_does_not_hide_the_others(
    plan: Plan, ports: Ports, source: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = complete.limit_connections
    source.execute("CREATE UNLOGGED TABLE at_first (id int)")

    def writing(run: Run, database: DatabasePlan) -> None:
        source.execute("ALTER TABLE at_first RENAME TO at_last; INSERT INTO cache VALUES ('b', '2')")
        real(run, database)

    begin(plan, ports)
    monkeypatch.setattr(complete, "limit_connections", writing)
    migrate(plan, ports, StepName.COMPLETE, StepName.CLEANUP)
    (late,) = told(ports, "SRC-LATE")
    assert "public.cache" in late
    (unseen,) = told(ports, "SRC-UNSEEN")
    assert "public.at_first: relation" in unseen
    assert "public.cache" not in unseen


def test_rows_of_a_logged_child_of_an_unlogged_table_are_none_of_its_own(
    plan: Plan, ports: Ports, source: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = complete.limit_connections
    source.execute("CREATE TABLE child (PRIMARY KEY (k)) INHERITS (cache)")

    def writing(run: Run, database: DatabasePlan) -> None:
        source.execute("SET synchronous_commit = on; UPDATE child SET v = 'late'")
        source.execute("INSERT INTO child VALUES ('c', '3')")
        real(run, database)

    begin(plan, ports)
    monkeypatch.setattr(complete, "limit_connections", writing)
    migrate(plan, ports, StepName.COMPLETE, StepName.CLEANUP)
    assert [text for text in told(ports, "SRC-LATE") if "public.cache" in text] == []


def test_a_complete_that_was_interrupted_says_that_nobody_looked(
    plan: Plan, ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """Stands for the death of the process."""

    def dying(run: Run, database: DatabasePlan) -> None:
        raise Killed

    begin(plan, ports)
    with monkeypatch.context() as patched:
        patched.setattr(complete, "limit_connections", dying)
        with pytest.raises(Killed):
            migrate(plan, ports, StepName.COMPLETE)
    migrate(replace(plan, epoch=2), ports, StepName.COMPLETE, StepName.CLEANUP)
    (unseen,) = told(ports, "SRC-UNSEEN")
    assert "unlogged tables or large objects" in unseen
