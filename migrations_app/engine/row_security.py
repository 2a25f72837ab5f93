"""What binds owners comes as the very last: row security, and rights that they took from themselves.

An account that is no superuser would be bound by it as well, and could neither compare rows nor set sequences.
"""

from __future__ import annotations

from .archive import archive_of_all
from .connect import Connection
from .outcome import Run
from .plan import DatabasePlan, Side
from .restore import Manner, remember, run_entries
from .rights import restore_own_rights
from .silencing import quiet_events
from .target_objects import kept
from .unmoved import TableName

_BINDING = (
    "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relforcerowsecurity"
    " AND NOT (SELECT r.rolsuper OR r.rolbypassrls FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)"
)


def binding(connection: Connection) -> set[TableName]:
    """Return the tables of the target whose row security, once it is on, binds this account whatever it owns."""
    return {(str(schema), str(table)) for schema, table in connection.execute(_BINDING.encode()).fetchall()}


def restore_binding(run: Run, database: DatabasePlan) -> None:
    """Do what was held back: see `binding` and `restore_rights`. Idempotent; a refusal is listed in an event."""
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        if connection.info.parameter_status("is_superuser") == "on":
            return
        quiet_events(connection)
        archive, held = archive_of_all(run, database), binding(connection)
        wanted = [entry for entry in archive.of_type("ROW SECURITY") if (entry.schema, entry.tag) in held]
        manner = Manner(is_fatal=lambda entry: False, repeatable=True)
        remember(run, database, run_entries(run, connection, wanted, manner))
        theirs = kept(run, database.target_name, connection, archive.entries)
        restore_own_rights(run, database, connection, archive, theirs)
