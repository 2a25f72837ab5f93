"""Finishes what follows the rows: indexes that are left, foreign keys, triggers, rules, views, sequences, rights."""

from __future__ import annotations

from dataclasses import replace

from ..outcome import DONE, Outcome, Run
from ..postdata import restore_rest
from ..replication.beside import Beside
from ..target_history import settle


def run(run: Run) -> Outcome:
    """Restore everything that follows the rows, of every database of the task. Repeatable after a crash."""
    with Beside(run):
        for database in run.databases():
            settle(run, database, copying=False)
            run.ports.control.check()
            if run.ports.store.database(database.source_name).index_done:
                continue
            restore_rest(run, database)
            state = run.ports.store.database(database.source_name)
            run.ports.store.save_database(replace(state, index_done=True))
    return DONE
