"""Builds what the engine is told from a task's rows. The only place where passwords are opened."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import connections
from django.db.models import Q

from ..engine.dialling import HandshakeEnded, resolve
from ..engine.plan import Bastion, DatabasePlan, GivenPassword, Knobs, Neighbour, Others, Plan, Server, Side, TlsMode
from ..engine.policy import AddressPolicy, literal, parse_networks
from ..engine.ports import Kind
from ..engine.selection import Selection
from ..engine.states import Status
from ..models import Endpoint, LedgerEntry, MigrationTask, TargetPassword, TaskDatabase
from ..services import work

_SIGN_INS = {"scram-sha-256": "scram-sha-256", "password": "password,md5,scram-sha-256", "any": ""}
_LOOPBACK = ("127.0.0.1", "::1")
_RESOLVE_SECONDS = 2.0
_TURN_SECONDS = 3.0  # in which each of the syncs has had its slice; connecting comes on top of it
_SHORTEST_SLICE, _LONGEST_SLICE = 0.5, 5.0
_DEFAULT_PORTS = {"postgresql": 5432, "mysql": 3306}

_NOT_AT_WORK = frozenset(
    {
        Status.DRAFT,
        Status.CHECKING,
        Status.CHECK_FAILED,
        Status.CHECK_PASSED,
        Status.COMPLETED,
        Status.CANCELLED,
    }
)
_RELATION = 1259  # the oid of pg_class
_command_line = False


def trust_command_line() -> None:
    """Let this process dial loopback: whoever started it has a shell on this machine anyway."""
    global _command_line
    _command_line = True


def address_policy() -> AddressPolicy:
    """Return what this process may dial, by the settings and by where the console can be reached from."""
    return AddressPolicy(
        allow=parse_networks(settings.ALLOW_ADDRESSES),
        deny=parse_networks(settings.DENY_ADDRESSES),
        loopback=_command_line or _console_is_local(),
        closed=_own_database(int(time.monotonic() / 60)),
    )


def _console_is_local() -> bool:
    """Say whether only people on this machine reach the console. Not told: an embedded database is one machine's."""
    if settings.BEHIND_PROXY:
        return False
    if not settings.LISTEN_ADDRESS:
        return connections["default"].vendor == "sqlite"
    listen = literal(settings.LISTEN_ADDRESS)
    return settings.LISTEN_ADDRESS == "localhost" or (listen is not None and listen.is_loopback)


@lru_cache(maxsize=1)
def _own_database(_minute: int) -> frozenset[tuple[str, int]]:
    """Return the addresses of the console's own database: no task reads or writes there. Looked up once a minute."""
    own = connections["default"].settings_dict
    if connections["default"].vendor not in _DEFAULT_PORTS:
        return frozenset()
    host, port = str(own["HOST"] or ""), int(own["PORT"] or _DEFAULT_PORTS[connections["default"].vendor])
    if not host or host.startswith("/"):  # a server that is reached by its socket mostly listens on loopback as well
        return frozenset((address, port) for address in _LOOPBACK)
    try:
        return frozenset((address, port) for address in resolve(host, port, _RESOLVE_SECONDS))
    except HandshakeEnded:
        return frozenset()


def server_of(endpoint: Endpoint | None) -> Server:
    """Return the address of an endpoint with its secrets opened. Raises UnreadableSecret.

    Certificates and the client key are written into a folder of this process, which only we can read, and which goes
    away with the process.
    """
    if endpoint is None:
        raise ValueError("the task has no endpoint on this side")
    return Server(
        host=endpoint.host,
        port=endpoint.port,
        user=endpoint.account,
        password=str(endpoint.password),
        database=endpoint.database,
        tls=TlsMode(endpoint.tls_mode),
        ca_file=_file(endpoint.ca_pem) or endpoint.ca_file,
        cert_file=_file(endpoint.client_cert_pem),
        key_file=_file(str(endpoint.client_key_pem)),
        require_auth=_SIGN_INS[endpoint.require_auth],
        bastion=_bastion_of(endpoint),
        policy=address_policy(),
    )


def _bastion_of(endpoint: Endpoint) -> Bastion | None:
    if not endpoint.uses_bastion:
        return None
    return Bastion(
        host=endpoint.ssh_host,
        port=endpoint.ssh_port,
        user=endpoint.ssh_user,
        password=str(endpoint.ssh_password),
        private_key=str(endpoint.ssh_private_key),
        host_key=endpoint.ssh_host_key,
    )


def _file(pem: str) -> str:
    """Return the path of a file that holds this text; the same text always has the same path. Empty text: no path."""
    if not pem.strip():
        return ""
    path = _scratch(os.getpid()) / f"{hashlib.sha256(pem.encode()).hexdigest()[:32]}.pem"
    if not path.exists():
        staged = path.with_name(f"{path.name}.{time.monotonic_ns()}")
        handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(pem.strip() + "\n")
        staged.rename(path)
    return str(path)


@lru_cache(maxsize=1)
def _scratch(pid: int) -> Path:
    """Return this process's private folder; folders of processes that were killed are removed on the way."""
    root: Path = settings.WORK_DIR
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    for old in root.glob("certificates-*"):
        if not Path(f"/proc/{old.name.rpartition('-')[2]}").exists():
            shutil.rmtree(old, ignore_errors=True)
    folder = root / f"certificates-{pid}"
    folder.mkdir(exist_ok=True, mode=0o700)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def others_of(task: MigrationTask) -> Others:
    """Return what the other tasks of this console have on targets: a line for each database of an unfinished one.

    One whose clean-up is only tried again has ended: its tables are anybody's.
    """
    rows = (
        TaskDatabase.objects.exclude(task=task)
        .exclude(task__status__in=[status.value for status in _NOT_AT_WORK])
        .exclude(task__status__in=[Status.CANCELLING, Status.COMPLETING], task__finished_at__isnull=False)
        .select_related("task__target")
    )
    relations = _relations({row.task_id for row in rows})
    return Others(
        neighbours=tuple(
            Neighbour(
                key=row.task.key,
                name=row.task.name,
                database=row.target_name,
                near=_address(row.task) == _address(task),
                relations=frozenset(relations.get((row.task_id, row.target_name), ())),
            )
            for row in rows
        ),
        known=frozenset(other.key for other in MigrationTask.objects.exclude(pk=task.pk).only("id")),
    )


def _address(task: MigrationTask) -> tuple[str, int] | None:
    return (task.target.host, task.target.port) if task.target else None


def _relations(tasks: Collection[UUID]) -> dict[tuple[UUID, str], set[tuple[str, str]]]:
    """Return (schema, name) of what tasks have on targets by their ledgers, for each task and database."""
    found: dict[tuple[UUID, str], set[tuple[str, str]]] = defaultdict(set)
    open_ones = LedgerEntry.objects.filter(task__in=tasks, side=Side.TARGET, removed_at=None)
    holding = Q(kind__in=[Kind.TABLE, Kind.ADOPTED]) | Q(kind=Kind.OBJECT, detail__catalog=_RELATION)
    for task, database, schema, name in open_ones.filter(holding).values_list("task", "database", "schema", "name"):
        found[task, database].add((schema, name))
    return found


def for_check(plan: Plan, task: MigrationTask) -> Plan:
    """Return the plan with what a check looks at besides: the other tasks of this console."""
    return replace(plan, others=others_of(task), at_work=at_work(task))


def at_work(task: MigrationTask) -> frozenset[str]:
    """Return the keys of all other tasks that may have something on a server: what carries them is not left over."""
    others = MigrationTask.objects.exclude(pk=task.pk).exclude(status__in=[status.value for status in _NOT_AT_WORK])
    return frozenset(other.key for other in others.only("id"))


def knobs_of(task: MigrationTask) -> Knobs:
    """Return how the knobs of a task stand: its own, or else those of the installation."""
    return Knobs(
        copy_jobs=task.copy_jobs or settings.COPY_JOBS,
        index_jobs=task.copy_jobs or settings.INDEX_JOBS,
        bytes_per_second=task.copy_mb_per_second * 1_000_000 if task.copy_mb_per_second else None,
    )


def given_passwords(task: MigrationTask) -> tuple[GivenPassword, ...]:
    """Return the passwords of the target that were given for a task. Raises UnreadableSecret."""
    return tuple(
        GivenPassword(
            database=row.database,
            server=row.server,
            role=row.role,
            user=row.user,
            password=str(row.password),
            mark=row.given_at.isoformat(),
        )
        for row in TargetPassword.objects.filter(task=task)
    )


def build_plan(task: MigrationTask, databases: list[DatabasePlan] | None = None) -> Plan:
    """Return the plan of a task for its current epoch. Makes the task's private work folder."""
    knobs = knobs_of(task)
    work_dir = settings.WORK_DIR / task.id.hex
    work_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    if databases is None:
        rows = TaskDatabase.objects.filter(task=task)
        databases = [DatabasePlan(source_name=row.source_name, target_name=row.target_name) for row in rows]
    return Plan(
        key=task.key,
        epoch=task.epoch,
        source=server_of(task.source),
        target=server_of(task.target),
        databases=tuple(databases),
        selection=Selection.from_json(task.selection),
        incremental=task.incremental,
        work_dir=work_dir,
        copy_jobs=knobs.copy_jobs,
        index_jobs=knobs.index_jobs,
        bytes_per_second=knobs.bytes_per_second,
        compare=not task.skip_compare,
        failover_slots=settings.FAILOVER_SLOTS,
        snapshot_seconds=settings.SNAPSHOT_HOURS * 3600,
        drain_seconds=settings.DRAIN_MINUTES * 60,
        spool_bytes=settings.SPOOL_MB * 1_000_000,
        spool_free_bytes=settings.SPOOL_FREE_MB * 1_000_000,
        connect_timeout_seconds=settings.CONNECT_TIMEOUT_SECONDS,
        retry_seconds=settings.RETRY_WINDOW_MINUTES * 60.0,
        slice_seconds=slice_seconds(work.syncs()),
        passwords=given_passwords(task),
    )


def slice_seconds(tasks: int) -> float:
    """Return how long a slice of the sync lasts while others wait, so that each of so many gets its turn in time."""
    return min(_LONGEST_SLICE, max(_SHORTEST_SLICE, _TURN_SECONDS * settings.SYNC_WORKERS / max(tasks, 1)))
