"""Event triggers are made as the very last of a database: they act on statements, and would act on all of ours."""

from __future__ import annotations

from .archive import archive_of_all
from .outcome import Run
from .plan import DatabasePlan, Side
from .restore import Manner, remember, run_entries, set_owners
from .silencing import quiet_events
from .target_objects import kept, record

_LISTED = Manner(is_fatal=lambda entry: False, repeatable=True)


def restore_event_triggers(run: Run, database: DatabasePlan) -> None:
    """Make them in their states, with owners and comments. Idempotent; refusals are listed in an event.

    What was there before stays as it is.
    """
    archive = archive_of_all(run, database)
    triggers = archive.of_type("EVENT TRIGGER")
    if not triggers:
        return
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        connection.execute(archive.setup or b"SELECT 1")
        quiet_events(connection)  # some are there already when this is repeated
        theirs = kept(run, database.target_name, connection, triggers)
        triggers = [entry for entry in triggers if entry.dump_id not in theirs]
        record(run, database, triggers)
        failures = run_entries(run, connection, triggers, _LISTED)
        remember(run, database, failures)
        refused = {failure.entry.dump_id for failure in failures}
        made = {entry.dump_id: entry for entry in triggers if entry.dump_id not in refused}
        set_owners(run, connection, list(made.values()))
        comments = [one for one in archive.of_type("COMMENT") if not made.keys().isdisjoint(one.depends_on)]
        remember(run, database, run_entries(run, connection, comments, _LISTED))
