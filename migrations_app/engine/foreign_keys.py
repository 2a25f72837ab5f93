"""Foreign keys of the target: added without looking at the rows, then proved in parallel."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import TypeVar

import psycopg

from .archive import Archive, Place, archive_of_all
from .connect import Connection
from .errors import ConnectFailed
from .failpoints import durable
from .names import qualified, quote
from .outcome import Run
from .plan import DatabasePlan, Side
from .restore import Failure, Manner, entry_state, failed, raise_unless_refused, remember, run_entries
from .target_objects import some
from .toc import Entry
from .untouched import but_untouched
from .wording import count, say

_NOT_VALID_ON_PARTITIONED = 180000
_STANDING = (
    "SELECT n.nspname, c.relname, k.conname, k.convalidated FROM pg_catalog.pg_constraint k"
    " JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE k.contype = 'f'"
)
_SMALL = (
    "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind = 'r' AND EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k"
    " WHERE k.conrelid = c.oid AND k.contype = 'f' AND NOT k.convalidated) AND pg_catalog.pg_relation_size(c.oid) <= %s"
)
_SMALL_BYTES = 1 << 20
_TOGETHER = 25
Key = tuple[str, str, str]
Item = TypeVar("Item")
Result = TypeVar("Result")


def of_one_moment(run: Run, database: DatabasePlan) -> bool:
    """Say whether all tables were copied under one snapshot.

    If not, rows may miss their parents until the sync has passed the latest watermark; Complete is behind that.
    """
    states = run.ports.store.tables(database.source_name)
    return len({state.watermark for state in states}) <= 1


def validate_pending(run: Run, database: DatabasePlan) -> int:
    """Add and prove the foreign keys that had to wait for the sync; returns how many are proved now that were not.

    For a target that has passed the latest watermark; the sync may go on meanwhile, since a proof locks out no writer.
    Idempotent. A key whose rows do not fit stays NOT VALID and is reported. Does nothing where keys wait for
    `postdata.restore_deferred` altogether, because the target account may not silence them.
    """
    if run.plan.incremental and not run.ports.store.database(database.source_name).replica_role:
        return 0
    archive = archive_of_all(run, database)
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        archive = but_untouched(run, database, connection, archive)
        connection.execute(archive.setup or b"SELECT 1")
        return restore_foreign_keys(run, database, connection, archive)


def restore_foreign_keys(
    run: Run, database: DatabasePlan, connection: Connection, archive: Archive, *, prove: bool = True
) -> int:
    """Add the foreign keys of the archive that do not stand yet and prove those that the source has proved.

    Idempotent; returns how many are proved now that were not. A key whose rows do not fit stays NOT VALID and is
    reported: it still guards new rows. Without `prove` the rows are not looked at: keys stay NOT VALID, and those that
    cannot be added so are left out.
    """
    entries = archive.of_type("FK CONSTRAINT")
    before = _standing(connection)
    places = {entry.dump_id: archive.place(entry) for entry in entries}
    missing = [entry for entry in entries if _key(places[entry.dump_id]) not in before]
    version = connection.info.server_version
    if not prove:
        missing = [entry for entry in missing if _unproved(entry, places[entry.dump_id], version)]

    def text(entry: Entry) -> bytes:
        return _add_text(entry, places[entry.dump_id], version)

    manner = Manner(is_fatal=lambda entry: False, text=text, repeatable=True)
    remember(run, database, run_entries(run, connection, missing, manner))
    if not prove:
        return 0
    standing = _standing(connection)
    waiting = [
        (entry, place)
        for entry in entries
        if (place := places[entry.dump_id]) and standing.get(_key(place)) is False and _proved_on_source(entry)
    ]
    _report_orphans(run, database, _validate(run, database, connection, waiting))
    proved = {key for key, valid in _standing(connection).items() if valid and not before.get(key)}
    return len(proved & {_key(place) for place in places.values()})


def _standing(connection: Connection) -> dict[Key, bool]:
    rows = connection.execute(_STANDING.encode()).fetchall()
    return {(str(schema), str(table), str(name)): bool(valid) for schema, table, name, valid in rows}


def _key(place: Place | None) -> Key:
    return (place.schema, place.table, place.name) if place else ("", "", "")


def _proved_on_source(entry: Entry) -> bool:
    return not _statement(entry).endswith((b" NOT VALID", b" NOT ENFORCED"))


def _statement(entry: Entry) -> bytes:
    return entry.definition.rstrip().removesuffix(b";")


def _add_text(entry: Entry, place: Place | None, version: int) -> bytes:
    """Return the statement with NOT VALID, where the server has it: before 18 a partitioned table has not."""
    if not _proved_on_source(entry) or not _unproved(entry, place, version):
        return entry.definition
    return _statement(entry) + b" NOT VALID;"


def _unproved(entry: Entry, place: Place | None, version: int) -> bool:
    """Say whether the key can be added without a look at the rows."""
    partitioned = place is None or place.kind == "p"
    return not _proved_on_source(entry) or not partitioned or version >= _NOT_VALID_ON_PARTITIONED


def _validate(
    run: Run, database: DatabasePlan, connection: Connection, waiting: list[tuple[Entry, Place]]
) -> list[Failure]:
    """Prove the keys of different tables side by side; those of one table would only wait for each other.

    Keys of small tables are proved several in one round trip, which is most of what such a proof costs.
    """
    by_table: dict[tuple[str, str], list[tuple[Entry, Place]]] = {}
    for entry, place in waiting:
        by_table.setdefault((place.schema, place.table), []).append((entry, place))

    def validate(session: Connection, keys: list[tuple[Entry, Place]]) -> list[Failure]:
        if len(keys) > 1 and _proved_together(run, session, keys):
            return []
        found = (_prove(run, session, key) for key in keys)
        return [failure for failure in found if failure]

    found = in_parallel(run, database, _portions(run, by_table, _small_tables(connection)), validate)
    return [failure for failures in found for failure in failures]


def _small_tables(connection: Connection) -> set[tuple[str, str]]:
    rows = connection.execute(_SMALL, (_SMALL_BYTES,)).fetchall()
    return {(str(schema), str(table)) for schema, table in rows}


def _portions(
    run: Run, by_table: dict[tuple[str, str], list[tuple[Entry, Place]]], small: set[tuple[str, str]]
) -> list[list[tuple[Entry, Place]]]:
    """Return what a session takes at once: the keys of a large table, or of several small ones; all get some."""
    portions = [keys for table, keys in by_table.items() if table not in small]
    few = [keys for table, keys in by_table.items() if table in small]
    most = min(_TOGETHER, max(1, -(-len(few) // (2 * max(run.plan.index_jobs, 1)))))
    for start in range(0, len(few), most):
        portions.append([key for keys in few[start : start + most] for key in keys])
    return portions


def _proved_together(run: Run, connection: Connection, keys: list[tuple[Entry, Place]]) -> bool:
    """Prove several keys in one transaction; says False, with none of them proved, when one does not fit the rows."""
    run.ports.control.check()
    try:
        with durable("target.validate", "foreign key"):
            connection.execute("; ".join(_validation(place) for _, place in keys).encode())
    except psycopg.Error as error:
        raise_unless_refused(run, error, say("validating {label}", label=keys[0][0].label))
        return False
    return True


def _prove(run: Run, connection: Connection, key: tuple[Entry, Place]) -> Failure | None:
    entry, place = key
    run.ports.control.check()
    try:
        with durable("target.validate", "foreign key"):
            connection.execute(_validation(place).encode())
    except psycopg.Error as error:
        raise_unless_refused(run, error, say("validating {label}", label=entry.label))
        return failed(entry, error)
    return None


def _validation(place: Place) -> str:
    return f"ALTER TABLE {qualified(place.schema, place.table)} VALIDATE CONSTRAINT {quote(place.name)}"


def _report_orphans(run: Run, database: DatabasePlan, failures: list[Failure]) -> None:
    if failures:
        run.ports.store.save_entries(*(entry_state(database, one.entry, error=one.words) for one in failures))
        listed = some(f"{failure.entry.label}: {failure.words}" for failure in failures)
        told = {
            "number": count(len(failures), "{number} foreign key", "{number} foreign keys"),
            "target_name": database.target_name,
            "names": listed,
        }
        aside = [f"{one.schema}.{one.name}" for one in run.ports.store.tables(database.source_name) if one.set_aside]
        text = (
            say(
                "{number} of {target_name} do not fit the rows and stay NOT VALID: {names}. Tables that are "
                "quarantined or dropped from the task may be the reason: {aside}.",
                aside=some(aside),
                **told,
            )
            if aside
            else say(
                "{number} of {target_name} do not fit the copied rows and stay NOT VALID: {names}. The "
                "same rows are on the source: it has not checked them either.",
                **told,
            )
        )
        run.ports.store.event("warning", "FK-NOT-VALID", text)


def in_parallel(
    run: Run, database: DatabasePlan, items: list[Item], work: Callable[[Connection, Item], Result]
) -> list[Result]:
    """Call `work(session, item)` for each item on `plan.index_jobs` target sessions; return the results in any order.

    The first error ends the others after their current item, and is raised. A session that the target has no room for
    is done without, as long as there is one.
    """
    queue: SimpleQueue[Item] = SimpleQueue()
    for item in items:
        queue.put(item)
    results: SimpleQueue[Result] = SimpleQueue()
    failed = threading.Event()
    refusals: SimpleQueue[ConnectFailed] = SimpleQueue()

    def drain() -> None:
        try:
            with run.sessions.session(Side.TARGET, database.target_name, synchronous_commit="off") as connection:
                while not failed.is_set():
                    run.ports.control.check()
                    results.put(work(connection, queue.get_nowait()))
        except Empty:
            return
        except ConnectFailed as error:
            refusals.put(error)
            if error.code != "CONNECT-FULL":
                failed.set()
        except BaseException:
            failed.set()
            raise

    jobs = min(run.plan.index_jobs, len(items))
    with ThreadPoolExecutor(max_workers=max(jobs, 1), thread_name_prefix="towpath-post") as pool:
        done = [pool.submit(drain) for _ in range(jobs)]
    for future in done:
        future.result()
    if not refusals.empty() and (failed.is_set() or not queue.empty()):
        raise refusals.get_nowait()
    return [results.get_nowait() for _ in range(results.qsize())]
