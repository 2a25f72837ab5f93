"""A log that PostgreSQL itself cannot read any more, and how a test tells that from a fault of ours.

A row of pg_class that a transaction wrote and took back to a savepoint is pruned, and a later version of the row gets
its place. The reader of the log takes the place for the row that it first met there, sees two rows for one file
(`unexpected duplicate for tablespace 0, relfilenumber …`), and no new session gets past that transaction.
"""

from __future__ import annotations

from dataclasses import replace

import psycopg

from migrations_app.engine.lsn import parse_lsn
from tests.fakes import wait_until
from tests.postgres.sync_kit import Pair

_MOST_TRIES = 200
_AGAIN = (
    "ALTER TABLE twice RENAME TO away",
    "INSERT INTO away VALUES (1)",
    "ALTER TABLE away RENAME TO twice",
)


def refuses_its_log(pair: Pair) -> bool:
    """Say whether the source's own function fails with an internal error where it reads the slot."""
    state = pair.state
    peek = (
        f"SELECT count(*) FROM pg_logical_slot_peek_binary_changes('{state.slot}', NULL, NULL,"
        f" 'proto_version', '1', 'publication_names', '{state.publication}')"
    )
    refused: list[bool] = []

    def looked() -> bool:
        try:
            pair.at_source(peek)
        except psycopg.errors.ObjectInUse:  # the session that failed is just about to end
            return False
        except psycopg.errors.InternalError_:
            refused.append(True)
        return True

    wait_until(looked)
    return bool(refused)


def spoil_the_log(pair: Pair) -> None:
    """Commit such a transaction behind the slot, on a table that is not of the task.

    The slot is made anew for each try: what was dropped before it can be pruned, and must be on the page that the next
    versions of the row fill up to nine tenths.
    """
    pair.at_source("CREATE TABLE twice (id int)")
    for number in range(_MOST_TRIES):
        pair.at_source(
            "DROP TABLE twice; CREATE TABLE twice (id int)",
            *(f"CREATE TABLE filler_{number}_{one} ()" for one in range(number % 5)),
            f"SELECT pg_drop_replication_slot('{pair.state.slot}')",
            f"SELECT pg_create_logical_replication_slot('{pair.state.slot}', 'pgoutput')",
        )
        with pair.source.connect(pair.source_db) as connection, connection.transaction():
            with connection.transaction(force_rollback=True):
                connection.execute("ALTER TABLE twice ADD COLUMN more int")
            for statement in _AGAIN:
                connection.execute(statement)
        if refuses_its_log(pair):
            begin = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = "
            point = parse_lsn(pair.value(f"{begin}'{pair.state.slot}'"))
            pair.store.save_database(replace(pair.state, consistent_point=point))
            return
    raise AssertionError(f"the source still reads its log after {_MOST_TRIES} tries")
