"""What a run is told: frozen values that cross from the Django side into the engine."""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from pathlib import Path

from .policy import AddressPolicy
from .selection import Selection
from .values import frozen


class TlsMode(StrEnum):
    """How a connection is protected. `prefer` exists for command-line URIs only (libpq's own default)."""

    DISABLE = "disable"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


class Side(StrEnum):
    """Which of the two servers."""

    SOURCE = "source"
    TARGET = "target"


@frozen
class Bastion:
    """An SSH host between us and a server. Secrets never show in `repr`.

    `host_key` is the OpenSSH public key line that the operator confirmed; empty = none yet, and then nothing is opened.
    """

    host: str
    port: int = 22
    user: str
    password: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)
    host_key: str = ""


@frozen
class Server:
    """An address to connect to. The password never shows in `repr`."""

    host: str
    port: int
    user: str
    password: str = field(default="", repr=False)
    database: str = "postgres"
    tls: TlsMode = TlsMode.DISABLE
    ca_file: str = ""
    """PEM file for verify-ca / verify-full; empty = the system's trust store."""
    cert_file: str = ""
    key_file: str = ""
    """PEM files with the client certificate and its key; both or none."""
    require_auth: str | None = None
    """Ways of signing in that are accepted, as libpq writes them; "" = any, None = whatever shows no clear password."""
    bastion: Bastion | None = None
    policy: AddressPolicy | None = None
    """What may be dialled, judged at every connect; None = everything (tests, and servers that we started)."""
    addresses: tuple[str, ...] = ()
    """Numeric addresses of `host`, resolved and judged: these are dialled. Filled in by `connect`, never stored."""


@frozen
class DatabasePlan:
    """One database of the task: its name on the source and on the target."""

    source_name: str
    target_name: str


@frozen
class GivenPassword:
    """A password of the target that an operator gave, because the source does not show it.

    With a `server` it belongs to the user mapping of `role` (`public` = everybody) in the database `database` of the
    source, and `user` is the name on the other server, or empty when that is not to be set. Without one it is the
    role's own. `mark` is another one each time it is given. Neither name nor password shows in `repr`.
    """

    role: str
    database: str = ""
    server: str = ""
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    mark: str = ""


@frozen
class Neighbour:
    """A database that another unfinished task of this console has on a target."""

    key: str
    name: str
    database: str  # its name on the target
    near: bool = True
    """Its target server has the address of ours, as entered; another one may be the same server all the same."""
    relations: frozenset[tuple[str, str]] = frozenset()
    """(schema, name) of the tables, views and sequences there that its ledger lists."""


@frozen
class Others:
    """What is known of the other tasks of this console."""

    neighbours: tuple[Neighbour, ...] = ()
    known: frozenset[str] = frozenset()
    """The keys of all of them, also of those that have ended."""


@frozen
class Knobs:
    """What an operator may change while a copy runs."""

    copy_jobs: int
    index_jobs: int
    bytes_per_second: int | None = None
    """Cap for all lanes together; None = as fast as it goes."""


@frozen
class Plan:
    """Everything that a run needs to know. Built anew from the task's rows for every slice.

    `key` is 8 lower-case hex digits of the task's id: all our server objects carry it.
    `epoch` grows with every claim; sessions and the bookmark are fenced by it.
    """

    key: str
    epoch: int
    source: Server
    target: Server
    databases: tuple[DatabasePlan, ...]
    selection: Selection
    incremental: bool
    work_dir: Path
    copy_jobs: int = 2
    index_jobs: int = 2
    bytes_per_second: int | None = None
    """With the two above the knobs as they stood at the claim; `Control.knobs` says how they stand now."""
    compare: bool = True
    """False: a full-only task ends without its comparison, and says so."""
    failover_slots: bool = False
    """True: a source that has failover slots (17+) gets one also when no standby is seen that keeps it in step."""
    connect_timeout_seconds: int = 5
    retry_seconds: float = 7200.0
    """For how long an outage is tried again before somebody has to look after it."""
    snapshot_seconds: float = 7200.0
    """How long an incremental copy begins tables under one snapshot of the source; more than 0. What is under way then
    is finished under it."""
    slice_seconds: float = 5.0
    """How long a sync slice may go on when another task waits for the worker."""
    drain_seconds: float = 900.0
    """How long Complete waits for the last changes; then the task goes back to its sync."""
    spool_bytes: int = 20 * 10**9
    """Most bytes that the spool of one database may take on this machine's disk."""
    spool_free_bytes: int = 2 * 10**9
    """So much of that disk stays free of it."""
    ready_lag_bytes: int = 1 << 20
    ready_lag_seconds: float = 5.0
    passwords: tuple[GivenPassword, ...] = ()
    """Of user mappings and roles of the target, as the operator gave them."""
    others: Others = Others()
    """For checks only; a run asks its ledger, which knows them as they stand now."""
    at_work: frozenset[str] = frozenset()
    """For checks only: the keys of all other unfinished tasks of this console, whatever servers they have."""

    def server(self, side: Side) -> Server:
        """Return the server of a side as it is configured."""
        return self.source if side is Side.SOURCE else self.target

    @property
    def knobs(self) -> Knobs:
        """The knobs as they stood when the plan was made."""
        return Knobs(copy_jobs=self.copy_jobs, index_jobs=self.index_jobs, bytes_per_second=self.bytes_per_second)
