"""A table gets another name on the source: told old and new without a later row, followed where that is allowed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.cleaning.side import by_hand
from migrations_app.engine.connect import Sessions
from migrations_app.engine.drift import ChangeKind, Doubt, Drift
from migrations_app.engine.errors import SchemaChanged
from migrations_app.engine.executor import Executor
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import NEVER, Kind, Ports
from migrations_app.engine.replication.names_followed import TableRenamed
from migrations_app.engine.states import StepName
from migrations_app.engine.target_objects import drop_made
from tests.fakes import FakeControl, FakeStore
from tests.postgres import complete_kit, drift_kit
from tests.postgres.complete_kit import begin, migrate, rows
from tests.postgres.drift_kit import ROWS, TABLE, allow, leave, stopped
from tests.postgres.sync_kit import Pair, force_path

# Fixtures that stand in the kits.
pair = drift_kit.pair
plan = complete_kit.plan
ports = complete_kit.ports
source = complete_kit.source
target = complete_kit.target

STATEMENT = 'ALTER TABLE "public"."t" RENAME TO "u"'


def followed(pair: Pair) -> None:
    """Sync until a table has been given its new name, then to the end of the stream."""
    with pytest.raises(TableRenamed):
        pair.catch_up()
    pair.catch_up()
    pair.assert_equal()


def asked_at_complete(plan: Plan, ports: Ports) -> Drift:
    """Press Complete, and return what stops it."""
    control, store = FakeControl(), ports.store
    control.complete = True
    with pytest.raises(SchemaChanged) as caught:
        migrate(plan, Ports(control=control, ledger=ports.ledger, store=store), StepName.SYNC)
    assert caught.value.drift is not None
    return caught.value.drift


def complete(plan: Plan, ports: Ports) -> None:
    control = FakeControl()
    control.complete = True
    steps = [StepName.SYNC, StepName.COMPARE, StepName.COMPLETE, StepName.CLEANUP]
    migrate(plan, Ports(control=control, ledger=ports.ledger, store=ports.store), *steps)


@pytest.mark.long
@pytest.mark.parametrize("ddl", ["RENAME TO clients", "SET SCHEMA shop"])
def test_complete_asks_about_a_renamed_table_and_succeeds_once_it_may_follow(
    plan: Plan, ports: Ports, source: psycopg.Connection, target: psycopg.Connection, ddl: str
) -> None:
    source.execute("CREATE SCHEMA shop")
    begin(plan, ports)
    source.execute(f"ALTER TABLE customers {ddl}".encode())
    drift = asked_at_complete(plan, ports)
    assert (drift.changes[0].kind, drift.statements) == (
        ChangeKind.TABLE_RENAMED,
        (f'ALTER TABLE "public"."customers" {ddl.replace(ddl.split()[-1], chr(34) + ddl.split()[-1] + chr(34))}',),
    )
    store = ports.store
    assert isinstance(store, FakeStore)
    store.may_change[drift.database] = [leave(drift)]
    with pytest.raises(TableRenamed), Executor(plan, ports) as executor:
        executor.run(StepName.SYNC)
    complete(plan, ports)
    now = "clients" if "RENAME" in ddl else "shop.customers"
    for query in (
        f"SELECT * FROM {now} ORDER BY 1",
        f"SELECT attidentity::text FROM pg_attribute WHERE attrelid = '{now}'::regclass AND attname = 'id'",
        "SELECT tgname, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
    ):
        assert rows(source, query) == rows(target, query), query
    assert store.leaves(drift.database) == []


@pytest.mark.long
def test_a_renamed_table_that_is_dropped_from_the_task_is_in_nobodys_way(
    plan: Plan, ports: Ports, source: psycopg.Connection, tmp_path: Path
) -> None:
    source.execute("CREATE TABLE extra (id int PRIMARY KEY)")
    begin(plan, ports)
    source.execute("ALTER TABLE extra RENAME TO further")
    drift = asked_at_complete(plan, ports)
    drift_kit.drop(ports.store, drift)
    complete(plan, ports)


@pytest.mark.parametrize("path", ["rows", "batches"])
def test_rows_written_under_both_names_go_to_the_same_table(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    force_path(monkeypatch, path)
    pair.build(TABLE, ROWS)
    pair.at_source("INSERT INTO t VALUES (101, 'before')", "ALTER TABLE t RENAME TO u")
    pair.at_source(
        "INSERT INTO u VALUES (102, 'after')", "UPDATE u SET v = 'x' WHERE id = 1", "DELETE FROM u WHERE id = 2"
    )
    drift = stopped(pair)
    assert (drift.statements, drift.lsn, drift.doubt) == ((STATEMENT,), NEVER, Doubt.NONE)
    allow(pair, drift)
    followed(pair)
    assert {state.name for state in pair.store.tables(pair.source_db)} == {"u", "other"}
    assert [code for _, code, _ in pair.store.events] == ["DDL-APPLIED"]


def test_who_renamed_the_table_on_the_target_himself_is_not_asked(pair: Pair) -> None:
    pair.build(TABLE, ROWS)
    pair.at_source("INSERT INTO t VALUES (101, 'before')", "ALTER TABLE t RENAME TO u", "INSERT INTO u VALUES (102)")
    stopped(pair)
    pair.at_target("ALTER TABLE t RENAME TO u")
    followed(pair)


def test_a_worker_that_died_after_the_rename_leaves_a_table_that_the_next_one_takes_up(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.build(TABLE, ROWS)
    pair.at_source("ALTER TABLE t RENAME TO u", "INSERT INTO u VALUES (101)")
    allow(pair, stopped(pair))
    with monkeypatch.context() as dying:
        dying.setattr(pair.store, "renamed", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            pair.catch_up()
    assert pair.value("SELECT to_regclass('u') IS NOT NULL", "target")
    followed(pair)


def test_a_table_that_got_the_old_name_meanwhile_keeps_its_rows_apart(pair: Pair) -> None:
    pair.build(TABLE, ROWS)
    pair.at_source(
        "ALTER TABLE t RENAME TO u",
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "INSERT INTO t VALUES (1, 'of the namesake')",
        "INSERT INTO u VALUES (101, 'after')",
    )
    allow(pair, stopped(pair))
    with pytest.raises(TableRenamed):
        pair.catch_up()
    pair.catch_up()
    assert pair.rows("source")["public.u"] == [
        str(row) for row in pair.value("SELECT array_agg(u::text ORDER BY u::text) FROM u", "target")
    ]


def test_a_schema_that_the_target_lacks_is_made_with_the_table_that_goes_there(pair: Pair) -> None:
    pair.build(TABLE, ROWS)
    pair.at_source("CREATE SCHEMA s; ALTER TABLE t SET SCHEMA s", "INSERT INTO s.t VALUES (101)")
    drift = stopped(pair)
    assert drift.statements == ('CREATE SCHEMA "s"', 'ALTER TABLE "public"."t" SET SCHEMA "s"')
    allow(pair, drift)
    followed(pair)
    (made,) = pair.ledger.items(kinds={Kind.SCHEMA})
    assert by_hand(made) == 'DROP SCHEMA "s"'


RIGHTS = (
    "SELECT concat_ws('; ', nspowner::regrole, obj_description(oid, 'pg_namespace'), (SELECT string_agg(line, '; '"
    " ORDER BY line) FROM aclexplode(nspacl), concat_ws(' ', grantee::regrole, is_grantable, grantor::regrole) line"
    " WHERE privilege_type = 'USAGE')) FROM pg_namespace WHERE nspname = 's'"
)
OWNER, READER, OTHER = "drift_owner", "drift_reader", "drift_other"
MOVED_TO_OWNED = (
    f"CREATE SCHEMA s AUTHORIZATION {OWNER}; COMMENT ON SCHEMA s IS 'theirs'; GRANT USAGE ON SCHEMA s TO PUBLIC;"
    f" GRANT USAGE ON SCHEMA s TO {READER} WITH GRANT OPTION;"
    f" SET ROLE {READER}; GRANT USAGE ON SCHEMA s TO {OTHER}; RESET ROLE; ALTER TABLE t SET SCHEMA s"
)


@contextlib.contextmanager
def roles(cluster: Cluster, database: str, *names: str) -> Iterator[None]:
    with cluster.connect(database) as connection:
        connection.execute("; ".join(f"CREATE ROLE {name}" for name in names).encode())
        try:
            yield
        finally:
            connection.execute(f"DROP OWNED BY {', '.join(names)} CASCADE".encode())
            connection.execute(f"DROP ROLE {', '.join(names)}".encode())


@pytest.mark.parametrize("there", [(OWNER, READER, OTHER), (READER,)], ids=["all roles", "one role"])
def test_a_schema_that_is_made_gets_owner_comment_and_grants_of_the_source(pair: Pair, there: tuple[str, ...]) -> None:
    pair.build(TABLE, ROWS)
    with roles(pair.source, pair.source_db, OWNER, READER, OTHER), roles(pair.target, pair.target_db, *there):
        pair.at_source(MOVED_TO_OWNED, "INSERT INTO s.t VALUES (101)")
        allow(pair, stopped(pair))
        followed(pair)
        told = [message for _, code, message in pair.store.events if code == "SCHEMA-RIGHTS"]
        if len(there) == 3:
            assert pair.value(RIGHTS, "target") == pair.value(RIGHTS)
            assert told == []
        else:
            assert (
                pair.value(RIGHTS, "target")
                == f"postgres; theirs; - f postgres; {READER} t postgres; postgres f postgres"
            )
            assert [name in told[0] for name in (f'role "{OWNER}" does not exist', OTHER, READER)] == [
                True,
                True,
                False,
            ]


def test_a_right_that_a_role_passed_on_which_the_target_lacks_is_given_all_the_same(pair: Pair) -> None:
    pair.build(TABLE, ROWS)
    with roles(pair.source, pair.source_db, OWNER, READER, OTHER), roles(pair.target, pair.target_db, OTHER):
        pair.at_source(MOVED_TO_OWNED, "INSERT INTO s.t VALUES (101)")
        allow(pair, stopped(pair))
        followed(pair)
        assert f"{OTHER} f postgres" in str(pair.value(RIGHTS, "target"))


def test_who_made_the_schema_on_the_target_himself_need_not_be_asked_again(pair: Pair) -> None:
    pair.build(TABLE, ROWS)
    pair.at_source("CREATE SCHEMA s; ALTER TABLE t SET SCHEMA s", "INSERT INTO s.t VALUES (101)")
    allow(pair, stopped(pair))
    pair.at_target("CREATE SCHEMA s")
    followed(pair)
    assert pair.ledger.items(kinds={Kind.SCHEMA}) == []


def test_what_the_target_refuses_is_told_and_nothing_is_changed(pair: Pair) -> None:
    pair.build(TABLE, ROWS)
    pair.at_source("CREATE SCHEMA s; ALTER TABLE t SET SCHEMA s", "INSERT INTO s.t VALUES (101)")
    drift = stopped(pair)
    allow(pair, drift)
    pair.at_target(
        "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not here'; END$$",
        "CREATE EVENT TRIGGER no ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION no()",
    )
    with pytest.raises(SchemaChanged, match="not here") as caught:
        pair.catch_up()
    assert caught.value.drift == drift
    assert pair.ledger.items(kinds={Kind.SCHEMA}) == []
    pair.at_target("DROP EVENT TRIGGER no")
    followed(pair)


@pytest.mark.parametrize("where", ["target", "task"])
def test_no_statement_is_offered_while_another_table_has_the_new_name(pair: Pair, where: str) -> None:
    pair.build(TABLE, ROWS)
    if where == "target":
        pair.at_target("CREATE TABLE u (id int)")
    new = "u" if where == "target" else "other"
    if where == "task":
        pair.at_source("DROP TABLE other")
    pair.at_source(f"ALTER TABLE t RENAME TO {new}", f"INSERT INTO {new} VALUES (101)")
    with pair.source.connect(pair.source_db) as connection:
        assert connection.execute("SELECT to_regclass('t')").fetchone() == (None,)
    if where == "task":
        pair.store.save_tables(*drift_kit.dropped(pair, "other"))
    drift = stopped(pair)
    assert (drift.doubt, drift.statements) == (Doubt.OTHER_NAME, ())


def test_the_look_beside_the_stream_shows_the_statement_and_lets_the_sync_go_on(pair: Pair) -> None:
    pair.build(TABLE, ROWS)
    pair.at_source("ALTER TABLE t RENAME TO u")
    (said,) = [message for _, code, message in pair.look() if code == "SRC-DDL"]
    assert STATEMENT in said
    assert "now called public.u" in said


@pytest.mark.long
def test_a_renamed_table_that_is_ours_is_cleared_under_its_new_name(
    plan: Plan, ports: Ports, source: psycopg.Connection, target: psycopg.Connection
) -> None:
    begin(plan, ports)
    source.execute("ALTER TABLE customers RENAME TO clients")
    drift = asked_at_complete(plan, ports)
    store = ports.store
    assert isinstance(store, FakeStore)
    store.may_change[drift.database] = [leave(drift)]
    with pytest.raises(TableRenamed), Executor(plan, ports) as executor:
        executor.run(StepName.SYNC)
    (named,) = [item for item in ports.ledger.items(kinds={Kind.TABLE}) if item.name == "clients"]
    assert by_hand(named) == 'DROP TABLE "public"."clients"'
    target.execute("CREATE TABLE customers (theirs int)")
    with Sessions(plan, FakeControl()) as sessions:
        drop_made(Run(plan=plan, ports=ports, sessions=sessions), plan.databases[0].target_name)
    assert rows(target, "SELECT to_regclass('clients') IS NULL, to_regclass('customers') IS NOT NULL") == [(True, True)]
