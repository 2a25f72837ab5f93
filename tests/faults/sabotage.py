"""Takes one promise out of the engine for a run of pytest: `-p tests.faults.sabotage`, TOWPATH_SABOTAGE names it.

The tests of that promise must fail then; `test_sabotages.py` sees to it. A sabotage changes the engine from outside, so
that nothing in the product knows of it, and as late as possible in its way: what is left must still run.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from typing import Any

from psycopg import pq

from migrations_app.engine import connect, copying, names, slots, wire
from migrations_app.engine.comparing import tables as compared
from migrations_app.engine.orphans import Orphans
from migrations_app.engine.passage import Passage
from migrations_app.engine.policy import AddressPolicy
from migrations_app.engine.replication import bookmark, continuing, pgoutput, row_path
from migrations_app.engine.replication.pipeline import Pipeline
from migrations_app.engine.replication.relations import Relations
from migrations_app.engine.replication.stream import Stream
from migrations_app.engine.replication.transaction import Transaction


def _confirm_before_commit() -> None:
    """The source is told that changes are durable before the target has committed them."""
    honest = Transaction.close

    def close(self: Transaction, end: int, changes: int, *, durable: bool) -> None:
        self._on_durable(end)
        honest(self, end, changes, durable=durable)

    _replace(Transaction, "close", close)


def _no_compare_and_swap() -> None:
    """A batch commits whoever holds the bookmark, and wherever it stands."""
    claim = bookmark.CLAIM_SQL.replace(b"lsn = $1::pg_catalog.pg_lsn AND epoch = $2::bigint", _ANYTHING)
    bookmark.CLAIM_SQL = claim
    bookmark.SURE_CLAIM_SQL = bookmark.SURE_CLAIM_SQL.replace(
        b"lsn = $1::pg_catalog.pg_lsn AND epoch = $2::bigint", _ANYTHING
    )


_ANYTHING = b"coalesce($1::pg_catalog.pg_lsn, lsn) IS NOT NULL AND coalesce($2::bigint, epoch) IS NOT NULL"


def _no_pins() -> None:
    """Sessions take the settings that server, database and role have."""
    _replace(connect, "pinned_options", lambda version, **extra: "")


def _leave_old_readers_alone() -> None:
    """What an older worker left behind on the servers goes on."""
    _replace_everywhere(connect.end_older_sessions, lambda *_, **__: 0)
    _replace_everywhere(slots.end_own_reader, lambda *_: None)


def _leave_lost_sessions_alone() -> None:
    """What a lost session of the same run may still do on the servers is not asked."""
    _replace(Orphans, "end", lambda *_: None)
    _replace(copying, "beginning", lambda works: "BEGIN")


def _count_no_rows() -> None:
    """A change that found no row, or two, is taken for done."""
    honest = Pipeline.send

    def send(self: Pipeline, name: bytes, parameters: Any, expected: int | None, *rest: Any) -> None:
        honest(self, name, parameters, None, *rest)

    _replace(Pipeline, "send", send)
    _replace(row_path, "sure", lambda sql: sql)


def _skip_errors() -> None:
    """Errors of the target are read over: the rest of the batch is applied."""

    def read(self: Pipeline) -> None:
        while self._sent and not self._pg.is_busy():
            result = self._pg.get_result()
            if result is None or result.status == pq.ExecStatus.PIPELINE_SYNC:
                self._bytes -= self._sent.popleft().size
            elif (done := self._sent[0].done) is not None and result.status in _FINE:
                done(result)

    _replace(Pipeline, "_read", read)


_FINE = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)


def _no_watermarks() -> None:
    """A table that was copied later gets the changes that its copy holds already."""
    _replace(Relations, "watermark", lambda self, oid: 0)


def _unchanged_is_null() -> None:
    """A large value that the source did not send, because it did not change, is overwritten."""
    _replace(pgoutput, "UNCHANGED", None)


def _any_server_will_do() -> None:
    """Nobody compares system identifier and timeline when the sync begins again."""
    _replace_everywhere(continuing.require_same_server, lambda *_, **__: None)


def _an_error_ends_a_copy_well() -> None:
    """Rows that came before an error of the source count as all rows."""

    honest = Passage.run

    def run(self: Passage, ending: Any, doing: str) -> int:
        try:
            return honest(self, ending, doing)
        except Exception:
            return 0

    _replace(Passage, "run", run)


def _copy_without_the_snapshot() -> None:
    """Each table is copied as it is when its turn comes."""
    honest = wire.command

    def command(connection: Any, side: Any, text: str, *rest: Any, **more: Any) -> Any:
        return honest(connection, side, re.sub(r" SET TRANSACTION SNAPSHOT '[^']*';", "", text), *rest, **more)

    _replace(copying.wire, "command", command)


def _names_as_they_are() -> None:
    """Names of the source are put into statements without quotes."""
    _replace_everywhere(names.quote, lambda name: name)


def _everything_is_equal() -> None:
    """The comparison believes what it should prove."""
    honest = compared._verdict

    def verdict(table: Any, result: str, **more: Any) -> Any:
        return honest(table, "equal" if result == "differs" else result, **more)

    _replace(compared, "_verdict", verdict)


def _answer_nobody() -> None:
    """The source never hears how far we are."""
    _replace(Stream, "_send_feedback", lambda self, *, reply: None)


def _any_address_will_do() -> None:
    """A name is not judged by the address that it leads to."""
    _replace(AddressPolicy, "allows", lambda self, address, port: True)


def _commits_may_be_lost() -> None:
    """Commits that the source is told of may still be forgotten by the target."""
    honest = Pipeline.command

    def command(self: Pipeline, text: bytes, *rest: Any, **more: Any) -> None:
        honest(self, text.replace(b"synchronous_commit = on", b"synchronous_commit = off"), *rest, **more)

    _replace(Pipeline, "command", command)


def _never_give_way() -> None:
    """A COPY goes on whoever waits for its table."""
    _replace(copying.Lane, "give_way", lambda self, turn: None)


SABOTAGES: dict[str, tuple[Callable[[], None], str]] = {
    "confirm-before-commit": (
        _confirm_before_commit,
        "tests/postgres/test_sync_positions.py::test_what_has_arrived_is_not_confirmed_before_it_has_committed",
    ),
    "no-compare-and-swap": (
        _no_compare_and_swap,
        "tests/postgres/test_sync_positions.py::test_a_worker_of_an_older_epoch_cannot_commit",
    ),
    "no-pins": (_no_pins, "tests/postgres/test_copy.py::test_hostile_date_styles_do_not_change_values"),
    "old-readers-live": (
        _leave_old_readers_alone,
        "tests/postgres/test_sync_positions.py::test_a_new_epoch_ends_the_sessions_of_the_old_one",
    ),
    "lost-sessions-live": (
        _leave_lost_sessions_alone,
        "tests/faults/test_black_hole.py::test_a_copy_whose_line_has_died_at_its_commit_is_there_once[late-whole]",
    ),
    "rows-not-counted": (_count_no_rows, "tests/postgres/test_sync_faults.py::test_a_missing_row_stops_the_sync"),
    "errors-skipped": (
        _skip_errors,
        "tests/postgres/test_sync_faults.py::test_a_duplicate_key_names_table_and_key_and_keeps_the_position",
    ),
    "no-watermarks": (
        _no_watermarks,
        "tests/postgres/test_sync_positions.py::test_rows_that_a_later_copy_holds_are_not_applied_again",
    ),
    "unchanged-is-null": (
        _unchanged_is_null,
        "tests/postgres/test_sync_rows.py::test_an_unchanged_toasted_value_is_kept",
    ),
    "any-server": (
        _any_server_will_do,
        "tests/postgres/test_sync_faults.py::test_another_server_behind_the_address_is_refused",
    ),
    "errors-end-copies": (
        _an_error_ends_a_copy_well,
        "tests/postgres/test_relay.py::test_a_source_error_in_mid_stream_is_the_sources",
    ),
    "no-snapshot": (_copy_without_the_snapshot, "tests/postgres/test_copy.py::test_later_rows_are_not_in_the_copy"),
    "names-not-quoted": (_names_as_they_are, "tests/postgres/test_sync_rows.py::test_hostile_names_are_only_names"),
    "stream-unanswered": (
        _answer_nobody,
        "tests/faults/test_network.py::test_a_stream_that_waits_for_the_target_answers_the_source",
    ),
    "any-address": (
        _any_address_will_do,
        "tests/faults/test_network.py::test_a_name_that_leads_elsewhere_is_judged_again",
    ),
    "commits-may-be-lost": (
        _commits_may_be_lost,
        "tests/faults/test_restarts.py::test_a_target_that_may_forget_commits_loses_nothing",
    ),
    "lost-readers-live": (
        _leave_old_readers_alone,
        "tests/faults/test_network.py::test_sessions_that_a_lost_line_leaves_behind_are_ended",
    ),
    "commits-that-hang-confirmed": (
        _confirm_before_commit,
        "tests/faults/test_target_faults.py::test_commits_that_hang_are_told_and_not_confirmed",
    ),
    "never-gives-way": (
        _never_give_way,
        "tests/faults/test_unharmed.py::test_an_alter_table_of_the_application_never_waits_for_long",
    ),
    "comparison-believes": (
        _everything_is_equal,
        "tests/postgres/test_compare_honesty.py"
        "::test_every_random_corruption_is_found_and_no_clean_run_raises_an_alarm",
    ),
}
"""What is taken out, and the test that must notice."""


def _replace(owner: Any, name: str, value: Any) -> None:
    assert hasattr(owner, name), f"{owner} has no {name} any more: mend the sabotage"
    setattr(owner, name, value)


def _replace_everywhere(original: Any, value: Any) -> None:
    """Replace a function in every module that has imported it by name, and in its own for those to come."""
    for module in [module for name, module in sys.modules.items() if name.startswith("migrations_app.engine")]:
        for name in [name for name, found in vars(module).items() if found is original]:
            setattr(module, name, value)


def pytest_configure() -> None:
    """Do the damage that was asked for."""
    if wanted := os.environ.get("TOWPATH_SABOTAGE"):
        SABOTAGES[wanted][0]()
