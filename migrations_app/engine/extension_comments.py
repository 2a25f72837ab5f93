"""Comments that somebody gave extensions, in place of those that these bring along themselves.

The archive's entries are not run: they would put the source's own words of every extension on the target's, whose
owner on managed servers is the vendor.
"""

from __future__ import annotations

import psycopg

from .connect import Connection
from .failpoints import durable
from .names import literal, quote
from .outcome import Run
from .plan import DatabasePlan, Side
from .restore import raise_unless_refused
from .wording import say

_OWN = (
    "SELECT e.extname::text, d.description FROM pg_catalog.pg_extension e"
    " JOIN pg_catalog.pg_description d ON d.classoid = 'pg_catalog.pg_extension'::regclass AND d.objoid = e.oid"
    " JOIN pg_catalog.pg_available_extensions a ON a.name = e.extname WHERE d.description <> a.comment"
)


def carry_extension_comments(run: Run, database: DatabasePlan, target: Connection) -> None:
    """Give the target's extensions the comments that somebody gave the source's. Idempotent.

    Only for a whole database, and only where the target's has none but its own. What the target refuses is left to the
    comparison of the structure, which tells it.
    """
    if run.plan.selection.state(database.source_name) != "all":
        return
    with run.sessions.session(Side.SOURCE, database.source_name) as source:
        wanted = _own(source)
    there = _own(target) if wanted else {}
    for extension, comment in wanted.items():
        if extension in there:
            continue
        run.ports.control.check()
        text = f"COMMENT ON EXTENSION {quote(extension)} IS {literal(comment)}"
        try:
            with durable("target.entry", "COMMENT"):
                target.execute(text.encode())
        except psycopg.Error as error:
            raise_unless_refused(run, error, say("restoring {label}", label=extension))


def _own(connection: Connection) -> dict[str, str]:
    return {str(name): str(text) for name, text in connection.execute(_OWN).fetchall()}
