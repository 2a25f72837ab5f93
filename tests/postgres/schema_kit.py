"""An awkward schema on the source, and the way over to the target, for the tests of schema and post-data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from migrations_app.engine import catalog, postdata
from migrations_app.engine.event_triggers import restore_event_triggers
from migrations_app.engine.plan import Side
from migrations_app.engine.steps import index, schema
from tests.comparator import differences

AWKWARD = Path(__file__).with_name("awkward_schema.sql").read_text()


ROWS = """
INSERT INTO public.parent (t, p, c) SELECT 'row ' || i, i, (i, 'x')::public.pair FROM generate_series(1, 50) i;
INSERT INTO public.a (id) SELECT generate_series(1, 20);
INSERT INTO public.part (id, d, x) SELECT i % 3, '2020-06-01'::date + i, 1 + i % 20 FROM generate_series(1, 400) i
 ON CONFLICT DO NOTHING;
INSERT INTO "we ird ""sch%ema"."ta ""ble%s
x" SELECT i, 'v' || i, 'ü' FROM generate_series(1, 30) i;
INSERT INTO public.unready (id) VALUES (-1);
REFRESH MATERIALIZED VIEW public.mv;
SELECT setval('public.alone', -7);
"""


class Crash(RuntimeError):
    """Stands for the death of the worker."""


def tables_of(run: Any) -> list[catalog.Table]:
    (snapshot,) = run.snapshots.values()
    return list(snapshot.tables)


def copy_rows(run: Any) -> None:
    """Carry the rows over, simply, and build each table's indexes as the copy does."""
    (database,) = run.databases()
    tables = [table for table in tables_of(run) if table.has_rows]
    with (
        run.sessions.session(Side.SOURCE, database.source_name) as source,
        run.sessions.session(Side.TARGET, database.target_name) as target,
    ):
        for table in tables:
            name = '"{}"."{}"'.format(table.schema.replace('"', '""'), table.name.replace('"', '""'))
            columns = ", ".join('"{}"'.format(one.name.replace('"', '""')) for one in table.copied_columns)
            target.execute(f"TRUNCATE ONLY {name}".encode())
            with (
                source.cursor().copy(f"COPY {name} ({columns}) TO STDOUT".encode()) as out,
                target.cursor().copy(f"COPY {name} ({columns}) FROM STDIN".encode()) as into,
            ):
                for data in out:
                    into.write(data)
    for table in tables:
        postdata.build_table(run, database, table)


def migrate(run: Any) -> None:
    schema.run(run)
    copy_rows(run)
    finish(run)


def finish(run: Any) -> None:
    """Run the index step, and what Complete adds to it in a task without sync."""
    index.run(run)
    if not run.plan.incremental:
        for database in run.plan.databases:
            restore_event_triggers(run, database)


def restore_deferred(run: Any, database: Any) -> None:
    """Do what Complete does last."""
    postdata.restore_deferred(run, database)
    restore_event_triggers(run, database)


def compare(source_cluster, target_cluster, plan, **options: Any) -> list[str]:
    (database,) = plan.databases
    with (
        source_cluster.connect(database.source_name) as source,
        target_cluster.connect(database.target_name) as target,
    ):
        return differences(source, target, **options)


def column(connection: Any, query: str) -> list[Any]:
    return [row[0] for row in connection.execute(query.encode()).fetchall()]


def crash_after(count: int, real: Any) -> Any:
    calls = iter(range(count))

    def wrapped(*args: Any, **more: Any) -> Any:
        if next(calls, None) is None:
            raise Crash
        return real(*args, **more)

    return wrapped
