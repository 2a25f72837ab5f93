"""What servers of different versions call things, and what they can do: the one place for it besides `sql/`.

Numbers are those of `server_version_num`: 160014 is 16.14, and 90624 is 9.6.24. A query that reads like this depends on
the version through a file of its own (`sql/NAME.before-10.sql`), a statement that is put together here.
"""

from __future__ import annotations

from typing import LiteralString

from .names import literal, quote
from .values import frozen

OLDEST_SOURCE = 90300
"""The oldest server that can export a snapshot together with what pg_dump and our queries need."""
OLDEST_TARGET = 100000
NEWEST_MAJOR = 18

PGOUTPUT = "pgoutput"
TEST_DECODING = "test_decoding"

TEMPORARY_SLOTS_SINCE = 100000

_SLOTS_SINCE = 90400
_ACTIVE_PID_SINCE = _TLS_SHOWN_SINCE = 90500
_ALLOW_CONNECTIONS_SINCE = 90500
_MESSAGES_SINCE = 90600
_PUBLICATIONS_SINCE = 100000
_TRUNCATE_SINCE = 110000
_FAILOVER_SINCE = 170000


def version_words(version: int) -> str:
    """Return `16.14` for 160014 and `9.6.24` for 90624."""
    if version >= 100000:
        return f"{version // 10000}.{version % 10000}"
    return f"{version // 10000}.{version // 100 % 100}.{version % 100}"


def major(version: int) -> int:
    """Return what changes with a major version: 16 for 160014, and 9 for every 9.x. Enough to order versions by age."""
    return version // 10000


def major_words(version: int) -> str:
    """Return `16` for 160014 and `9.6` for 90624: what a release is called."""
    return str(version // 10000) if version >= 100000 else f"{version // 10000}.{version // 100 % 100}"


def supported(version: int, *, as_source: bool) -> bool:
    """Say whether a server of this version can be a source, or a target."""
    oldest = OLDEST_SOURCE if as_source else OLDEST_TARGET
    return oldest <= version < (NEWEST_MAJOR + 1) * 10000


def can_decode(version: int) -> bool:
    """Say whether servers of this version have replication slots, without which nothing can be followed."""
    return version >= _SLOTS_SINCE


def plugin(version: int) -> str:
    """Return the output plugin that every server of this version has: `pgoutput`, or `test_decoding` before 10."""
    return PGOUTPUT if has_publications(version) else TEST_DECODING


def has_publications(version: int) -> bool:
    """Say whether the server itself chooses by a publication what is sent; otherwise it sends all tables."""
    return version >= _PUBLICATIONS_SINCE


def exports_hold_transactions(version: int) -> bool:
    """Say whether a session that lends its snapshot has a transaction id, for whose end every new slot waits."""
    return version < TEMPORARY_SLOTS_SINCE


def standby_lends_snapshots(version: int) -> bool:
    """Say whether a standby can lend a snapshot, which needs no transaction id since then."""
    return version >= TEMPORARY_SLOTS_SINCE


def has_places_for_senders(version: int) -> bool:
    """Say whether WAL senders have places of their own, and take none of max_connections."""
    return version >= 120000


def has_monitor_role(version: int) -> bool:
    """Say whether a role, pg_monitor, lets others than superusers see what sessions of other accounts do."""
    return version >= 100000


def senders_hear_nothing(version: int) -> bool:
    """Say whether a WAL sender ignores timeouts and cancellation: it can only be ended, by another session."""
    return version < TEMPORARY_SLOTS_SINCE


def decodes_truncate(version: int) -> bool:
    """Say whether TRUNCATE is in the stream of changes."""
    return version >= _TRUNCATE_SINCE


def shows_slot_reader(version: int) -> bool:
    """Say whether pg_replication_slots tells which process reads a slot."""
    return version >= _ACTIVE_PID_SINCE


def shows_sequence_values(version: int) -> bool:
    """Say whether the catalog tells how far sequences are; before 10 only each of them itself does."""
    return version >= 100000


def shows_tls(version: int) -> bool:
    """Say whether the server tells which TLS a session uses."""
    return version >= _TLS_SHOWN_SINCE


def has_failover_slots(version: int) -> bool:
    """Say whether a standby can keep logical slots of servers of this version in step."""
    return version >= _FAILOVER_SINCE


def create_slot(version: int, quoted_name: str, *, temporary: bool, failover: bool = False) -> tuple[str, bool]:
    """Return the command that makes a logical slot with an exported snapshot, and whether it ends with its session.

    `failover`: standbys may keep it in step; only servers that have that are asked for it. Before 10 there is no
    keyword for anything: the snapshot is always exported, and every slot is permanent.
    """
    if version < _PUBLICATIONS_SINCE:
        return f"CREATE_REPLICATION_SLOT {quoted_name} LOGICAL {TEST_DECODING}", False
    if failover:
        return f"CREATE_REPLICATION_SLOT {quoted_name} LOGICAL {PGOUTPUT} (SNAPSHOT 'export', FAILOVER true)", False
    words = "TEMPORARY LOGICAL" if temporary else "LOGICAL"
    return f"CREATE_REPLICATION_SLOT {quoted_name} {words} {PGOUTPUT} EXPORT_SNAPSHOT", temporary


def knows_alter_system(version: int) -> bool:
    """Say whether SQL can write the server's settings; before 9.4 only an editor can."""
    return version >= _SLOTS_SINCE


def knows_allow_connections(version: int) -> bool:
    """Say whether a database's owner can let it accept connections: before 9.5 only a superuser can."""
    return version >= _ALLOW_CONNECTIONS_SINCE


def open_database(version: int, name: str) -> str:
    """Return the statement that lets a database accept connections; before 9.5 there is no word for it."""
    if knows_allow_connections(version):
        return f"ALTER DATABASE {quote(name)} ALLOW_CONNECTIONS true;"
    return f"UPDATE pg_database SET datallowconn = true WHERE datname = {literal(name)};"  # noqa: S608 - shown to be copied


def set_setting(version: int, name: str, value: str) -> str:
    """Return what an operator runs, or writes into postgresql.conf, to change a setting. `value` is written as SQL."""
    if knows_alter_system(version):
        return f"ALTER SYSTEM SET {name} = {value};"
    return f"-- in postgresql.conf:\n{name} = {value}"


@frozen
class WalWords:
    """Names of the functions that speak of the WAL; they are all in pg_catalog."""

    insert_position: LiteralString
    difference: LiteralString


_WAL = WalWords(insert_position="pg_catalog.pg_current_wal_insert_lsn()", difference="pg_catalog.pg_wal_lsn_diff")
_XLOG = WalWords(
    insert_position="pg_catalog.pg_current_xlog_insert_location()", difference="pg_catalog.pg_xlog_location_diff"
)


def wal_words(version: int) -> WalWords:
    """Return how this version calls its WAL functions."""
    return _WAL if version >= 100000 else _XLOG


def marker_statement(version: int) -> LiteralString:
    """Return a statement whose commit writes WAL without any privilege and changes no table."""
    if version >= _MESSAGES_SINCE:
        return "SELECT pg_catalog.pg_logical_emit_message(true, 'towpath', 'drain')"
    return "SELECT pg_catalog.txid_current()"
