"""Brings the stream of a source before 11 into the form of newer ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from .. import truncate_log
from ..connect import Connection
from ..names import TARGET_SCHEMA
from ..plan import Plan
from ..ports import DatabaseState, TableState
from ..versions import decodes_truncate
from .gathered import Gathering
from .lag import SourceWatch
from .named import NamedChanges
from .stream import Stream
from .translated import FromTestDecoding, Translated, WithNotes


def newer_form(
    stack: ExitStack,
    plan: Plan,
    tables: Sequence[TableState],
    watch: SourceWatch,
    stream: Stream,
    state: DatabaseState,
    ordinary: Connection,
    codec: str,
    watermark: Callable[[int], int | None],
) -> Stream | Translated:
    """Return the stream with a translation around it, where its source needs one; `tables`: all of the task.

    `stack` closes what the translation opens. `watermark`: see `NamedChanges`.
    """
    if decodes_truncate(ordinary.info.server_version):
        return stream
    known = [table for table in tables if not table.set_aside]
    named = NamedChanges(known, watch, codec, watermark)
    if state.publication:
        log = truncate_log.log_oid(ordinary, plan.key)
        return Translated(stream, WithNotes(named, codec, log)) if log else stream
    gathering = Gathering(plan.work_dir)
    stack.callback(gathering.close)
    convert = FromTestDecoding(named, gathering, codec, (TARGET_SCHEMA, truncate_log.log_name(plan.key)))
    return Translated(stream, convert, lambda: gathering.midway)
