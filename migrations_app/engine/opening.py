"""From when on Complete leads only forward: targets are being opened, and changes applied there run triggers."""

from __future__ import annotations

from dataclasses import replace

from .outcome import Run
from .plan import Side
from .ports import OPENING, Kind


def note_opening(run: Run) -> None:
    """Note durably, with the bookmarks, that targets are opened from here on. Idempotent; nothing without a sync."""
    marks = run.ports.ledger.items(Side.TARGET, kinds={Kind.BOOKMARK})
    run.ports.ledger.amend(*(replace(item, detail={**item.detail, OPENING: True}) for item in marks))


def opening_began(run: Run) -> bool:
    """Say whether this task ever began to open a target, maybe in a process that was killed since."""
    return any(item.detail.get(OPENING) for item in run.ports.ledger.items(Side.TARGET, kinds={Kind.BOOKMARK}))
