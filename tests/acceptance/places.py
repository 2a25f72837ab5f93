"""Databases on the two servers of a test: made, looked at for what the product leaves there, slowed down, dropped."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import psycopg

from migrations_app.demo.clusters import Cluster


class HasServers(Protocol):
    """Whatever knows the two servers."""

    source: Cluster
    target: Cluster


def quoted(name: str) -> str:
    """Return an identifier as PostgreSQL wants it, without the product's help."""
    return '"' + name.replace('"', '""') + '"'


@dataclass
class Place:
    """One database on one of the servers, and how its tables were identified before anything of ours came."""

    cluster: Cluster
    name: str
    identities: dict[str, str] = field(default_factory=dict)

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        return self.cluster.connect(self.name)

    def run(self, *statements: str) -> None:
        """Run statements, each in a transaction of its own."""
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def value(self, sql: str) -> Any:
        """Return the first column of the first row."""
        with self.connect() as connection:
            row = connection.execute(sql.encode()).fetchone()
        return row[0] if row else None

    def exists(self) -> bool:
        with self.cluster.connect() as connection:
            return bool(connection.execute("SELECT FROM pg_database WHERE datname = %s", (self.name,)).fetchall())

    def remember(self) -> None:
        """Take down what must be the same again when the migration has ended."""
        self.identities = replica_identities(self)


def replica_identities(place: Place) -> dict[str, str]:
    """Return the replica identity of every user table: the letter, and the index when it is one."""
    with place.connect() as connection:
        rows = connection.execute(
            "SELECT format('%I.%I', n.nspname, c.relname), c.relreplident::text || coalesce((SELECT"
            " i.indexrelid::regclass::text FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident), '')"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')"
            " AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
        ).fetchall()
    return {str(name): str(value) for name, value in rows}


def refresh(place: Place) -> None:
    """Fill all materialized views anew, as Complete does on the target: the application may have left them stale."""
    with place.connect() as connection:
        names = connection.execute("SELECT oid::regclass FROM pg_class WHERE relkind = 'm' ORDER BY oid").fetchall()
        for (name,) in names:
            connection.execute(f"REFRESH MATERIALIZED VIEW {name}".encode())


def _names(connection: psycopg.Connection[Any], sql: str) -> list[str]:
    """Return what the query finds; nothing where the server is too old for such objects."""
    catalog = sql.split(" FROM ")[1].split()[0]
    if connection.execute("SELECT to_regclass(%s)", (f"pg_catalog.{catalog}",)).fetchone() == (None,):
        return []
    return [str(name) for (name,) in connection.execute(sql.encode()).fetchall()]


def leftovers(source: Place, target: Place) -> list[str]:
    """Return everything on both servers that the product made for itself and that should be gone, in words."""
    found = []
    for side, place in (("source", source), ("target", target)):
        with place.cluster.connect() as connection:
            for what, sql in (
                ("slot", "SELECT slot_name FROM pg_replication_slots WHERE slot_name ~ 'towpath'"),
                ("session", "SELECT application_name FROM pg_stat_activity WHERE application_name ~ '^towpath'"),
                ("origin", "SELECT roname FROM pg_replication_origin WHERE roname ~ 'towpath'"),
            ):
                found += [f"{what} {name} on the {side}" for name in _names(connection, sql)]
        if not place.exists():
            continue
        with place.connect() as connection:
            for what, sql in (
                ("publication", "SELECT pubname FROM pg_publication WHERE pubname ~ '^towpath'"),
                ("schema", "SELECT nspname FROM pg_namespace WHERE nspname = 'towpath'"),
                ("table", "SELECT relname FROM pg_class WHERE relname ~ '^towpath_[0-9a-f]{8}'"),
            ):
                found += [f"{what} {name} on the {side}" for name in _names(connection, sql)]
        if place.identities and replica_identities(place) != place.identities:
            found.append(f"changed replica identities on the {side}")
    return found


def nothing_of_ours(source: Place, target: Place, seconds: float = 5) -> None:
    """Assert that nothing of the product's own is on either server; a session may take a moment to end."""
    deadline = time.monotonic() + seconds
    while (found := leftovers(source, target)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert found == [], found


@contextlib.contextmanager
def database_pair(
    on: HasServers, fill: Callable[[psycopg.Connection[Any]], None] | str, *, make_target: bool = False
) -> Iterator[tuple[Place, Place]]:
    """Make a filled database on the source, and its namesake on the target to come; both are dropped at the end."""
    name = f"m_{secrets.token_hex(4)}"
    source, target = Place(on.source, name), Place(on.target, name)
    try:
        for place in (source, target) if make_target else (source,):
            with place.cluster.connect() as connection:
                connection.execute(f'CREATE DATABASE "{name}"')
        with source.connect() as connection:
            if isinstance(fill, str):
                connection.execute(fill.encode())
            else:
                fill(connection)
        source.remember()
        yield source, target
    finally:
        for place in (source, target):
            drop_database(place)


def drop_database(place: Place) -> None:
    """Drop a database with its slots and everybody's sessions."""
    with place.cluster.connect() as connection:
        rows = connection.execute(
            "SELECT slot_name, active_pid FROM pg_replication_slots WHERE database = %s", (place.name,)
        ).fetchall()
        for slot, pid in rows:
            if pid:
                connection.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            connection.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
        connection.execute(f"DROP DATABASE IF EXISTS {quoted(place.name)} WITH (FORCE)".encode())


_SLOW_ROWS = """
CREATE SCHEMA slow;
CREATE FUNCTION slow.down(value int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$
  DECLARE slept text; BEGIN
  IF current_setting('server_version_num')::int >= 180000 THEN slept := pg_sleep(0.005)::text; END IF;
  RETURN true; END $$;
CREATE TABLE slow.rows (id int PRIMARY KEY, other int, CHECK (slow.down(id)));
INSERT INTO slow.rows SELECT g, g FROM generate_series(1, 300) g;
CREATE TABLE slow.more (id int PRIMARY KEY, other int, CHECK (slow.down(id)));
INSERT INTO slow.more SELECT g, g FROM generate_series(1, 300) g;
"""
_SLOW_STRUCTURES = (
    "CREATE SCHEMA drag",
    "CREATE FUNCTION drag.down() RETURNS event_trigger LANGUAGE plpgsql AS"
    " $$ BEGIN PERFORM pg_catalog.pg_sleep(0.012); END $$",
    "CREATE EVENT TRIGGER drag ON ddl_command_end EXECUTE FUNCTION drag.down()",
    "ALTER EVENT TRIGGER drag ENABLE ALWAYS",
)


def slow_copy(connection: psycopg.Connection[Any]) -> None:
    """Add tables whose rows take over a second to arrive on a PostgreSQL 18, and no time elsewhere."""
    connection.execute(_SLOW_ROWS.encode())


@contextlib.contextmanager
def slow_structures(target: Place) -> Iterator[None]:
    """Let every definition on the target take a moment for as long as the block runs."""
    target.run(*_SLOW_STRUCTURES)
    try:
        yield
    finally:
        target.run("DROP EVENT TRIGGER drag", "DROP SCHEMA drag CASCADE")
