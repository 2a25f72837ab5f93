"""Event triggers ON login arrive as they are, and one that would let nobody in on the target stays disabled there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import event_triggers
from migrations_app.engine.archive import archive_of_all
from migrations_app.engine.connect import Connection
from migrations_app.engine.errors import ConnectFailed
from migrations_app.engine.plan import Plan, Server, Side
from migrations_app.engine.ports import Ports
from migrations_app.engine.states import StepName, steps_for
from tests.fakes import FakeStore, fake_ports
from tests.faults.proxy import fault_proxy
from tests.postgres.compare_kit import on_one_server, run_steps, running, server

TRIGGERED = """
CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 20);
CREATE FUNCTION let_in() RETURNS event_trigger LANGUAGE plpgsql AS
$$ BEGIN IF current_database() LIKE '%\\_copy' THEN {there}; END IF; END $$;
CREATE EVENT TRIGGER "let in" ON login EXECUTE FUNCTION let_in();
COMMENT ON EVENT TRIGGER "let in" IS 'who comes in';
"""
FINE, REFUSES, HANGS = "NULL", "RAISE EXCEPTION 'closed for everybody'", "PERFORM pg_sleep(3600)"
REFUSES_ORDINARY = "IF current_setting('session_replication_role') = 'origin' THEN RAISE 'closed for ordinary'; END IF"
STATES = {"O": "ENABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA", "D": "DISABLE"}


@pytest.fixture
def there(request: pytest.FixtureRequest) -> str:
    """What the login trigger does on the target."""
    return str(getattr(request, "param", FINE))


@pytest.fixture
def plan(target_cluster: Cluster, target_db: str, tmp_path: Path, there: str) -> Iterator[Plan]:
    """A plan whose both ends are databases of one server that knows such triggers."""
    with on_one_server(target_cluster, target_db, TRIGGERED.format(there=there), tmp_path) as plan:
        yield replace(plan, connect_timeout_seconds=4)


def to_the_end(plan: Plan, ports: Ports) -> FakeStore:
    """Run all steps but the check."""
    return run_steps(plan, ports, *(step for step in steps_for(incremental=plan.incremental) if step != StepName.CHECK))


def state(cluster: Cluster, plan: Plan) -> tuple[str, str]:
    """Return the state of the target's trigger and its comment, as seen by an ordinary login."""
    with cluster.connect(plan.databases[0].target_name) as connection:
        row = connection.execute(
            "SELECT evtenabled, obj_description(oid, 'pg_event_trigger') FROM pg_event_trigger"
        ).fetchone()
    assert row is not None
    return cast("tuple[str, str]", row)


@pytest.mark.parametrize("incremental", [False, pytest.param(True, marks=pytest.mark.long)])
@pytest.mark.parametrize("enabled", STATES)
def test_it_arrives_in_its_state(plan: Plan, target_cluster: Cluster, enabled: str, incremental: bool) -> None:
    with target_cluster.connect(plan.databases[0].source_name) as connection:
        connection.execute(f'ALTER EVENT TRIGGER "let in" {STATES[enabled]}'.encode())
    ports = fake_ports()
    store = to_the_end(replace(plan, incremental=incremental), ports)
    assert state(target_cluster, plan) == (enabled, "who comes in")
    assert {"LOGIN-TRIGGER", "STRUCTURE-NOTES", "SCHEMA-REFUSED"}.isdisjoint(code for _, code, _ in store.events)
    assert ports.ledger.items() == []


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (REFUSES, "closed for everybody"),
        (HANGS, "transaction timeout"),
        (REFUSES_ORDINARY, "closed for ordinary"),
    ],
    indirect=["there"],
    ids=["refuses", "hangs", "refuses ordinary sessions"],
)
def test_one_that_lets_nobody_in_stays_disabled_and_is_told(plan: Plan, target_cluster: Cluster, words: str) -> None:
    ports = fake_ports()
    store = to_the_end(plan, ports)
    assert state(target_cluster, plan) == ("D", "who comes in")
    statement = 'ALTER EVENT TRIGGER "let in" ENABLE;'
    (told,) = [text for _, code, text in store.events if code == "LOGIN-TRIGGER"]
    assert statement in told
    assert words in told
    (note,) = store.notes[plan.databases[0].source_name]
    assert (note.kind, note.name, note.statement) == ("event trigger", "let in", statement)
    assert words in note.words
    assert ports.ledger.items() == []
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        others = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        ).fetchone()
    assert others == (0,)


@pytest.mark.parametrize("settings", [b" -c session_replication_role", b"\0"], ids=["as a replica", "as all others"])
def test_a_login_that_failed_by_chance_is_not_put_down_to_it(
    plan: Plan, target_cluster: Cluster, settings: bytes
) -> None:
    ports = fake_ports()
    with fault_proxy(target_cluster.port) as proxy:
        cut = proxy.trigger(word=b"transaction_timeout=2s -c restrict_nonsystem_relation_kind=" + settings)
        store = to_the_end(replace(plan, target=replace(plan.target, port=proxy.port)), ports)
        assert cut.pulled
    assert state(target_cluster, plan) == ("O", "who comes in")
    assert "LOGIN-TRIGGER" not in [code for _, code, _ in store.events]


class Killed(BaseException):
    """Stands for the death of the process."""


@pytest.mark.sample(2)
@pytest.mark.parametrize("there", [FINE, REFUSES], indirect=True)
@pytest.mark.parametrize("passed", [0, 1])
def test_a_complete_that_dies_meanwhile_locks_nobody_out_and_is_repeated(
    plan: Plan, target_cluster: Cluster, there: str, passed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = fake_ports()
    with monkeypatch.context() as patched:
        real, seen = event_triggers.set_state, list[bytes]()

        def dying(connection: Connection, name: bytes, state: bytes) -> None:
            if len(seen) == passed:
                raise Killed
            seen.append(state)
            real(connection, name, state)

        patched.setattr(event_triggers, "set_state", dying)
        with pytest.raises(Killed):
            to_the_end(plan, ports)
    state(target_cluster, plan)
    run_steps(replace(plan, epoch=2), ports, StepName.COMPLETE, StepName.CLEANUP)
    assert state(target_cluster, plan)[0] == ("O" if there == FINE else "D")
    assert ports.ledger.items() == []


@pytest.fixture
def patched(target_cluster: Cluster, target_db: str) -> Iterator[Server]:
    """An account as a vendor's patch makes it: it owns event triggers, and is no superuser."""
    name = f"vendor_{target_db}"
    with target_cluster.connect() as connection:
        connection.execute(f"CREATE ROLE {name} SUPERUSER LOGIN PASSWORD 'given'".encode())
        yield replace(server(target_cluster), user=name, password="given")
        connection.execute(f"DROP ROLE {name}".encode())


def test_it_is_not_tried_out_by_an_account_that_cannot_do_so_alone(
    plan: Plan, target_cluster: Cluster, patched: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports, database = fake_ports(), plan.databases[0]
    with monkeypatch.context() as patch:
        patch.setattr(event_triggers, "_let_act_at_logins", lambda *_: None)
        store = to_the_end(plan, ports)
    assert state(target_cluster, plan)[0] == "D"
    with target_cluster.connect(database.target_name) as connection:
        connection.execute(f'ALTER EVENT TRIGGER "let in" OWNER TO {patched.user}'.encode())
        connection.execute(f"ALTER ROLE {patched.user} NOSUPERUSER".encode())
        with running(plan, ports) as run:
            (entry,) = archive_of_all(run, database).of_type("EVENT TRIGGER")
        with running(replace(plan, target=patched), ports) as run:
            session = run.sessions.open(Side.TARGET, database.target_name)
            event_triggers._let_act_at_logins(run, database, session, entry)
        connection.execute('ALTER EVENT TRIGGER "let in" OWNER TO postgres')
    assert state(target_cluster, plan)[0] == "D"
    (told,) = [text for _, code, text in store.events if code == "LOGIN-TRIGGER"]
    assert "may not set session_replication_role" in told
    assert told.endswith('run: ALTER EVENT TRIGGER "let in" ENABLE;')


def test_one_of_the_source_that_refuses_us_is_told_in_its_words(plan: Plan, target_cluster: Cluster) -> None:
    with target_cluster.connect(plan.databases[0].source_name) as connection:
        connection.execute(
            f"CREATE OR REPLACE FUNCTION let_in() RETURNS event_trigger LANGUAGE plpgsql AS"
            f" $$BEGIN {REFUSES}; END$$".encode()
        )
    with pytest.raises(ConnectFailed, match="closed for everybody") as refused:
        run_steps(plan, fake_ports(), StepName.SCHEMA)
    assert "event trigger" in refused.value.hint
    arguments = target_cluster.arguments(plan.databases[0].source_name)
    with psycopg.connect(**arguments, options="-c event_triggers=off", autocommit=True) as connection:
        connection.execute('DROP EVENT TRIGGER "let in"')
