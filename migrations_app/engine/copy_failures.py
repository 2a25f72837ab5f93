"""Tells in words about the table and its rows why a COPY failed, where more is known than the server says."""

from __future__ import annotations

from .encodings import Encodings
from .errors import EngineError
from .named_values import unknown_name
from .outcome import Run
from .plan import DatabasePlan
from .row_sizes import is_too_large, refused
from .row_texts import is_odd_text, refused_text
from .table_work import TableWork, shape_changed, travels_in_binary
from .wording import say

_NO_SUCH_COLUMN = "42703"
_CHECK = "23514"
"""A row that breaks a check, or belongs to another partition."""
_STRICTER = frozenset({"23502", "23505", "23P01"})
"""NOT NULL, a unique index or key, an exclusion constraint: tables of ours get the last two after their rows."""


def explained(
    run: Run, database: DatabasePlan, work: TableWork, encodings: Encodings, error: EngineError
) -> EngineError | None:
    """Return the error to raise in place of one that ended the copy of a table, None when that says enough.

    May look at the source for a limited time. Raises what `Control.check` raises.
    """
    if error.sqlstate == _NO_SUCH_COLUMN:
        return shape_changed(work)
    if error.sqlstate == _CHECK and work.adopted:
        error.hint = say(
            "The source has this row, and the target's table, which was there before, has a check that refuses it, or"
            " no partition that takes it. Drop the check there, or make such a partition, and press Retry; or press"
            " Drop from task beside the table and Retry, and all others go on."
        )
        return error
    if error.sqlstate == _CHECK:
        error.hint = say(
            "The source has this row, so what it is judged by is other on the target: mostly the order of text (locale"
            " of the database), a function, or a setting. Make that as on the source and press Retry; or press Drop"
            " from task beside the table and Retry, and all others go on."
        )
        return error
    if error.sqlstate in _STRICTER and work.adopted:
        error.hint = say(
            "The source has these rows, and the target's table, which was there before, allows less. Drop on the target"
            " what is named, or make it as on the source, and press Retry; or press Drop from task beside the table and"
            " Retry, and all others go on."
        )
        return error
    if is_too_large(error):
        return refused(run, database, work.table, error, as_text=not travels_in_binary(work, encodings))
    if is_odd_text(error):
        return refused_text(run, database, work.table, encodings, error)
    return unknown_name(run, database, work.table, work.place, error)
