"""What binds owners comes late: row security before views are filled by it, rights that they took from themselves last.

An account that is no superuser would be bound by both as well, and could neither compare rows nor set sequences.
"""

from __future__ import annotations

from .archive import archive_of_all
from .connect import Connection
from .large_object_rights import carry_own_rights
from .large_objects import selected
from .names import qualified
from .outcome import Run
from .plan import DatabasePlan, Side
from .restore import Manner, remember, run_entries
from .rights import give_back_own_rights, restore_own_rights
from .silencing import quiet_events
from .target_objects import kept
from .toc import Entry
from .unmoved import TableName
from .untouched import but_untouched

_BINDING = (
    "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relforcerowsecurity"
    " AND NOT (SELECT r.rolsuper OR r.rolbypassrls FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)"
)


def binding(connection: Connection) -> set[TableName]:
    """Return the tables of the target whose row security, once it is on, binds this account whatever it owns."""
    return {(str(schema), str(table)) for schema, table in connection.execute(_BINDING.encode()).fetchall()}


def restore_row_security(run: Run, database: DatabasePlan) -> None:
    """Switch on what was held back: see `binding`. Idempotent; a refusal is listed in an event.

    Before materialized views are filled, which read what their owners may see.
    """
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        held = binding(connection)
        if not held:
            return
        quiet_events(connection)
        archive = but_untouched(run, database, connection, archive_of_all(run, database))
        wanted = [entry for entry in archive.of_type("ROW SECURITY") if (entry.schema, entry.tag) in held]
        manner = Manner(is_fatal=lambda entry: False, repeatable=True)
        remember(run, database, run_entries(run, connection, wanted, manner))


def restore_binding(run: Run, database: DatabasePlan) -> None:
    """Take the rights that were left to owners: see `restore_rights`. Idempotent; a refusal is listed in an event."""
    _of_large_objects(run, database)
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        if connection.info.parameter_status("is_superuser") == "on":
            return
        quiet_events(connection)
        archive = archive_of_all(run, database)
        theirs = kept(run, database.target_name, connection, archive.entries)
        restore_own_rights(run, database, connection, archive, theirs)


def release_binding(run: Run, database: DatabasePlan) -> None:
    """Undo what the two above did in a run that was killed before its end: this one works in the same tables.

    What was on the target before the task stays as it is. Idempotent, and nothing where nothing binds.
    """
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        if connection.info.parameter_status("is_superuser") == "on":
            return
        quiet_events(connection)
        archive, held = archive_of_all(run, database), binding(connection)
        theirs = kept(run, database.target_name, connection, archive.entries)
        bound = [
            entry
            for entry in archive.of_type("ROW SECURITY")
            if (entry.schema, entry.tag) in held and theirs.isdisjoint(entry.depends_on)
        ]
        manner = Manner(is_fatal=lambda entry: False, text=_switched_off, repeatable=True)
        run_entries(run, connection, bound, manner)
        give_back_own_rights(run, connection, archive, theirs)
    _of_large_objects(run, database, back=True)


def _switched_off(entry: Entry) -> bytes:
    return b"ALTER TABLE " + qualified(entry.schema, entry.tag).encode() + b" DISABLE ROW LEVEL SECURITY;"


def _of_large_objects(run: Run, database: DatabasePlan, *, back: bool = False) -> None:
    if not selected(run, database):
        return
    with (
        run.sessions.session(Side.SOURCE, database.source_name) as source,
        run.sessions.session(Side.TARGET, database.target_name) as target,
    ):
        carry_own_rights(source, target, run.ports.control.check, back=back)
