"""What the tests of comparison, Complete and cleanup share: a run over two databases, with ports in memory."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import psycopg

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.catalog import Table
from migrations_app.engine.compare import compare_database
from migrations_app.engine.comparing.moment import standing
from migrations_app.engine.connect import Sessions
from migrations_app.engine.executor import Executor
from migrations_app.engine.names import qualified, quote
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import DatabasePlan, Plan, Server, Side
from migrations_app.engine.ports import Comparison, Note, Ports, TableState, TableStatus
from migrations_app.engine.selection import Selection
from migrations_app.engine.snapshot import open_first
from migrations_app.engine.states import StepName, steps_for
from migrations_app.engine.structure import look_at_structure
from tests.fakes import FakeControl, FakeStore, fake_ports


def server(cluster: Cluster) -> Server:
    """Return the address of a test server."""
    return Server(host="127.0.0.1", port=cluster.port, user="postgres", password=cluster.password)


def plan_for(source: Server, target: Server, source_db: str, target_db: str, **changes: Any) -> Plan:
    """Return a plan that migrates all of `source_db` into `target_db`."""
    values: dict[str, Any] = {
        "key": "0badcafe",
        "epoch": 1,
        "source": source,
        "target": target,
        "databases": (DatabasePlan(source_name=source_db, target_name=target_db),),
        "selection": Selection(rules={(source_db,): True}, targets={source_db: target_db}),
        "incremental": False,
        "work_dir": Path("/dev/null/none"),
        **changes,
    }
    return Plan(**values)


@contextlib.contextmanager
def plain_account(cluster: Cluster, database: str) -> Iterator[Server]:
    """Let a new role that is no superuser own the database, and yield the server's address for it."""
    name = f"plain_{database}"
    with cluster.connect(database) as connection:
        connection.execute(
            f"CREATE ROLE {name} LOGIN PASSWORD 'given'; ALTER DATABASE {database} OWNER TO {name}".encode()
        )
    yield replace(server(cluster), user=name, password="given")
    with cluster.connect(database) as connection:
        connection.execute(f"REASSIGN OWNED BY {name} TO postgres; DROP OWNED BY {name}; DROP ROLE {name}".encode())


@contextlib.contextmanager
def on_one_server(cluster: Cluster, database: str, sql: str, work_dir: Path) -> Iterator[Plan]:
    """Make `sql` in the database, and yield a plan that migrates it into another one of its server."""
    with cluster.connect(database) as connection:
        connection.execute(sql.encode())
    there = f"{database}_copy"
    yield plan_for(server(cluster), server(cluster), database, there, work_dir=work_dir)
    with cluster.connect() as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{there}" WITH (FORCE)'.encode())


@contextlib.contextmanager
def running(plan: Plan, ports: Ports | None = None) -> Iterator[Run]:
    """Yield a run with open sessions."""
    chosen = ports or fake_ports()
    with Sessions(plan, chosen.control) as sessions:
        yield Run(plan=plan, ports=chosen, sessions=sessions)


def compare_now(plan: Plan, ports: Ports | None = None) -> Comparison:
    """Compare the first database of the plan as it stands."""
    with running(plan, ports) as run:
        database = plan.databases[0]
        return compare_database(
            run, database, lambda lock: standing(run, database, lock=lock), check=run.ports.control.check
        )


def structure_now(plan: Plan, ports: Ports | None = None, *, final: bool = False) -> list[Note]:
    """Compare the structure of the first database of the plan as it stands."""
    with running(plan, ports) as run:
        return look_at_structure(run, plan.databases[0], final=final)


def run_steps(plan: Plan, ports: Ports, *steps: StepName) -> FakeStore:
    """Run these steps, or all of the task but the check, with an operator who has pressed Complete."""
    cast(FakeControl, ports.control).complete = True
    with Executor(plan, ports) as executor:
        for step in steps or steps_for(incremental=plan.incremental):
            if step is not StepName.CHECK:
                assert executor.run(step).done
    return cast(FakeStore, ports.store)


def begin_sync(run: Run) -> None:
    """Open slot and snapshot of the first database, and copy every selected table into the target's like-named ones."""
    database = run.plan.databases[0]
    snapshot = open_first(run, database)
    with run.sessions.session(Side.SOURCE, database.source_name) as source:
        snapshot.import_into(source)
        with run.sessions.session(Side.TARGET, database.target_name, session_replication_role="replica") as target:
            for table in snapshot.tables:
                if table.has_rows:
                    copy_rows(source, target, table)
    states = [
        TableState(
            database=database.source_name,
            schema=table.schema,
            name=table.name,
            oid=table.oid,
            status=TableStatus.DONE,
            watermark=snapshot.lsn,
            unlogged=table.persistence == "u",
        )
        for table in snapshot.tables
        if table.has_rows
    ]
    run.ports.store.save_tables(*states)
    snapshot.close()
    run.snapshots.clear()


def copy_rows(source: psycopg.Connection[Any], target: psycopg.Connection[Any], table: Table) -> None:
    """Copy the rows of one table, simply."""
    columns = ", ".join(quote(column.name) for column in table.copied_columns)
    name = f"{qualified(table.schema, table.name)} ({columns})"
    with (
        source.cursor().copy(f"COPY {name} TO STDOUT".encode()) as reading,
        target.cursor().copy(f"COPY {name} FROM STDIN".encode()) as writing,
    ):
        for part in reading:
            writing.write(part)


class Writer:
    """An application that writes without pause: each call of `work(connection, number)` is one transaction."""

    def __init__(self, cluster: Cluster, database: str, work: Callable[[psycopg.Connection[Any], int], None]) -> None:
        self._cluster, self._database, self._work = cluster, database, work
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.error: BaseException | None = None
        self.commits = 0

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        if self.error:
            raise self.error

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        try:
            with self._cluster.connect(self._database) as connection:
                while not self._stop.is_set():
                    with connection.transaction():
                        self._work(connection, self.commits)
                    self.commits += 1
                    self._stop.wait(0.002)
        except BaseException as error:
            self.error = error
