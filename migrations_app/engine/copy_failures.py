"""Tells in words about the table and its rows why a COPY failed, where more is known than the server says."""

from __future__ import annotations

from .encodings import Encodings
from .errors import EngineError
from .named_values import unknown_name
from .outcome import Run
from .plan import DatabasePlan
from .row_sizes import is_too_large, refused
from .table_work import TableWork, shape_changed, travels_in_binary

_NO_SUCH_COLUMN = "42703"


def explained(
    run: Run, database: DatabasePlan, work: TableWork, encodings: Encodings, error: EngineError
) -> EngineError | None:
    """Return the error to raise in place of one that ended the copy of a table, None when that says enough.

    May look at the source for a limited time. Raises what `Control.check` raises.
    """
    if error.sqlstate == _NO_SUCH_COLUMN:
        return shape_changed(work)
    if is_too_large(error):
        return refused(run, database, work.table, error, as_text=not travels_in_binary(work, encodings))
    return unknown_name(run, database, work.table, work.place, error)
