"""Row security that binds owners too: it is switched on as the very last, because it would bind our comparison."""

from __future__ import annotations

from .archive import archive_of_all
from .connect import Connection
from .outcome import Run
from .plan import DatabasePlan, Side
from .restore import Manner, remember, run_entries
from .silencing import quiet_events
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
    """Switch on the row security that `binding` held back. Idempotent; a refusal is listed in an event."""
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        held = binding(connection)
        if not held:
            return
        quiet_events(connection)
        entries = archive_of_all(run, database).of_type("ROW SECURITY")
        wanted = [entry for entry in entries if (entry.schema, entry.tag) in held]
        manner = Manner(is_fatal=lambda entry: False, repeatable=True)
        remember(run, database, run_entries(run, connection, wanted, manner))
