"""Removes what a migration made on either server: by the ledger, newest first, whatever else fails."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..failpoints import durable
from ..outcome import Run
from ..ports import Kind, LedgerItem
from ..wording import listing, say, verbatim
from . import source, target
from .side import Left

__all__ = ["Left", "clean_up", "tell_left"]


def clean_up(run: Run, *, keep_target_objects: bool) -> list[LedgerItem]:
    """Remove slots, publications, replica identities, bookmarks, states and files of this task. Returns what is left.

    Both servers at once; one that cannot be reached costs one connection timeout and does not stop the other. Target
    objects stay: in the ledger too with `keep_target_objects` (after Cancel), else they are crossed off, because they
    belong to the user now. What is left is told in an event with the SQL that removes it by hand. Idempotent. Raises
    only what `Control.check` raises.
    """
    left = everything_left(run, keep_target_objects=keep_target_objects)
    tell_left(run, left)
    return [one.item for one in left]


def everything_left(run: Run, *, keep_target_objects: bool) -> list[Left]:
    """Do the work of `clean_up` and return what is left with reasons, without telling."""
    with ThreadPoolExecutor(2, thread_name_prefix="clean") as pool:
        there = pool.submit(source.clean, run)
        here = pool.submit(target.clean, run, keep_objects=keep_target_objects)
        left = [*there.result(), *here.result()]
    return left + _remove_files(run)


def tell_left(run: Run, left: list[Left], code: str = "CANCEL-LEFT") -> None:
    """Write the event that lists what remains, with exact SQL. Nothing when nothing remains."""
    if not left:
        return
    told = listing((say("{thing} Run: {sql}", thing=one.words(), sql=one.sql) for one in left), 5)
    run.ports.store.event(
        "warning",
        code,
        say("Still on the servers: {things}.", things=told),
        left=[one.told() for one in left],
    )


def _remove_files(run: Run) -> list[Left]:
    """Remove recorded files and folders, but never anything outside the task's own folder."""
    left, home = [], run.plan.work_dir.resolve()
    for item in reversed(run.ports.ledger.items(kinds={Kind.FILE})):
        path = Path(item.name)
        path = path if path.is_absolute() else home / path
        if not path.resolve().is_relative_to(home):
            left.append(Left(item=item, sql=f"rm {path}", reason=say("it is outside the task's folder")))
            continue
        try:
            with durable("local.remove"):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        except OSError as error:
            left.append(Left(item=item, sql=f"rm {path}", reason=verbatim(error.strerror or type(error).__name__)))
            continue
        run.ports.ledger.removed(item)
    return left
