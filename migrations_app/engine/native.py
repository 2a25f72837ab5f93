"""What the source itself has for settings that ours pin, for where expressions of its users are computed.

A day that is cut out of a moment, a text that is made of a date: what such an expression comes to depends on the
session that computes it. On the target these are checks, generated columns, keys of partitions, indexes, and the
contents of materialized views. They come out as on the source only in a session with the settings of an ordinary one.
"""

from __future__ import annotations

from collections.abc import Mapping

import psycopg

from .connect import Connection, set_all, translate
from .made_partitions import note_source
from .names import literal
from .outcome import Run
from .pins import PINS
from .plan import DatabasePlan, Side
from .wording import say

ZONE = "timezone"
# What changes how a value is written. Literals of definitions are written in pinned form, so only what has none of its
# own may be computed under all of them.
_NAMES = (ZONE, "datestyle", "intervalstyle", "bytea_output")
_EXACT_BY_THEMSELVES = 120000
"""From this version on floats are written the same under the pin and under what a server has by default."""
# What was set for our account alone says nothing of anybody else's sessions.
_OF_OTHERS = """
SELECT g.name::text, CASE WHEN g.source NOT IN ('user', 'database user') THEN g.setting
       ELSE (SELECT min(pg_catalog.substr(o.text, pg_catalog.strpos(o.text, '=') + 1))
               FROM pg_catalog.pg_db_role_setting s
               JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase AND d.datname = pg_catalog.current_database()
              CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) o(text)
              WHERE s.setrole = 0
                AND pg_catalog.lower(pg_catalog.split_part(o.text, '=', 1)) = pg_catalog.lower(g.name))
       END::text
  FROM pg_catalog.pg_settings g WHERE pg_catalog.lower(g.name) = ANY (%s)
"""


def native_settings(run: Run, database: DatabasePlan) -> Mapping[str, str]:
    """Return what an ordinary session on the source database has for `timezone` and the forms of values.

    What only our account's own setting tells is left out: the pin holds. Asked once in a run. Raises EngineError of the
    source.
    """
    if database.source_name not in run.native:
        open_source(run, database).close()
    return run.native[database.source_name]


def open_source(run: Run, database: DatabasePlan) -> Connection:
    """Open a session on the source as all are; the first one of a run tells on the way what ordinary ones have.

    Raises EngineError of the source.
    """
    if database.source_name in run.native:
        return run.sessions.open(Side.SOURCE, database.source_name)
    name = database.source_name
    connection = run.sessions.open(
        Side.SOURCE, name, timezone=None, datestyle=None, intervalstyle=None, bytea_output=None
    )
    try:
        rows = connection.execute(_OF_OTHERS, (list(_NAMES),)).fetchall()
        set_all(connection, {key: PINS[key] for key in _NAMES})
        note_source(connection)
    except psycopg.Error as error:
        connection.close()
        run.ports.control.check()
        raise translate(error, Side.SOURCE, say("reading settings")) from error
    run.native[name] = {str(key).lower(): str(value) for key, value in rows if value is not None}
    return connection


def native_zone(run: Run, database: DatabasePlan, target: Connection) -> str:
    """Return the time zone of ordinary sessions on the source database, the pinned one where the target lacks it.

    `target` is an autocommit session on the target. Raises EngineError of the source, and psycopg's errors.
    """
    known = native_settings(run, database)
    if database.source_name not in run.zones:
        zone = known.get(ZONE, PINS[ZONE])
        try:
            set_all(target, {ZONE: zone})
        except psycopg.errors.InvalidParameterValue:
            zone = PINS[ZONE]
        run.zones[database.source_name] = zone
    return run.zones[database.source_name]


def zone_text(run: Run, database: DatabasePlan, target: Connection) -> bytes:
    """Return the statement that gives a session on the target `native_zone`. Raises as that does."""
    return f"SET {ZONE} = {literal(native_zone(run, database, target))};\n".encode()


def forms_text(run: Run, database: DatabasePlan, target: Connection) -> bytes:
    """Return the statements that give a transaction on the target all of the source's own settings. Raises likewise."""
    settings = {**native_settings(run, database), ZONE: native_zone(run, database, target)}
    if target.info.server_version < _EXACT_BY_THEMSELVES:
        settings["extra_float_digits"] = "0"
    return "".join(f"SET LOCAL {name} = {literal(value)};\n" for name, value in settings.items()).encode()
