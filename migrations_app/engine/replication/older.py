"""Brings the stream of a source before 11 into the form of newer ones."""

from __future__ import annotations

from collections.abc import Sequence
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
from .relations import Relations
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
    relations: Relations,
) -> Stream | Translated:
    """Return the stream with a translation around it, where its source needs one; `tables`: those that move.

    `stack` closes what the translation opens. `relations`: what the stream goes to.
    """
    if decodes_truncate(ordinary.info.server_version):
        return stream
    named = NamedChanges(list(tables), watch, codec, relations.written_anew, relations.watermark)
    if state.publication:
        log = truncate_log.log_oid(ordinary, plan.key)
        return Translated(stream, WithNotes(named, codec, log)) if log else stream
    gathering = Gathering(plan.work_dir)
    stack.callback(gathering.close)
    convert = FromTestDecoding(named, gathering, codec, (TARGET_SCHEMA, truncate_log.log_name(plan.key)))
    return Translated(stream, convert, lambda: gathering.midway)
