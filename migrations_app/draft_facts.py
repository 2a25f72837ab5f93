"""What follows from a draft as it stands: its fingerprint, and what its selection leaves out. Pure reading."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Sequence
from sys import intern

from django.conf import settings
from django.db.models import TextField
from django.db.models.functions import Cast

from .engine.selection import Selection
from .kept import of_reading
from .models import Endpoint, Level, MigrationTask, SourceObject

# Everything of an endpoint that decides which server is reached, how, and as whom. Secrets come in as keyed hashes.
_FACTS = (
    "kind",
    "region",
    "network",
    "vpn_type",
    "gateway_id",
    "vpc_id",
    "subnet_id",
    "instance_id",
    "host",
    "port",
    "account",
    "database",
    "tls_mode",
    "ca_file",
    "ca_pem",
    "client_cert_pem",
    "require_auth",
    "ssh_host",
    "ssh_port",
    "ssh_user",
    "ssh_host_key",
)
_SECRETS = ("password", "client_key_pem", "ssh_password", "ssh_private_key")


def draft_hash(task: MigrationTask) -> str:
    """Return the fingerprint of everything that a check result depends on, passwords included but not readable."""
    sides = [_facts(endpoint) for endpoint in (task.source, task.target) if endpoint is not None]
    selection = Selection.from_json(task.selection).to_json()
    return hashlib.sha256(json.dumps([sides, task.incremental, selection]).encode()).hexdigest()


def settings_mark(task: MigrationTask) -> str:
    """Return the fingerprint of what the form of the settings shows; it goes with the form, to be compared."""
    when = task.scheduled_at.isoformat() if task.scheduled_at else ""
    return _mark([task.name, when, task.incremental, endpoint_mark(task.source), endpoint_mark(task.target)])


def endpoint_mark(endpoint: Endpoint | None) -> str:
    """Return the fingerprint of one endpoint as forms show it, its secrets and its name included."""
    return _mark([endpoint.saved_name or "", *_facts(endpoint)]) if endpoint is not None else ""


def names_mark(selection: Selection, paths: Iterable[tuple[str, ...]]) -> str:
    """Return the fingerprint of the names on the target that these databases and schemas have now."""
    names = []
    for path in sorted(set(paths)):
        given = selection.targets.get(path[0]) if len(path) == 1 else selection.schema_targets.get((path[0], path[1]))
        names.append([*path, given or ""])
    return _mark(names)


def roles_mark(selection: Selection) -> str:
    """Return the fingerprint of what was chosen for roles."""
    return _mark([selection.roles, selection.role_passwords])


def existing_mark(selection: Selection) -> str:
    """Return the fingerprint of what was chosen for objects that the target has already."""
    return _mark([selection.existing])


def follow_mark(selection: Selection) -> str:
    """Return the fingerprint of what was chosen for tables that change on the source."""
    return _mark([selection.follow])


def _mark(facts: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def _facts(endpoint: Endpoint) -> list[object]:
    key = settings.SECRET_KEY.encode()
    secrets = [
        hmac.new(key, f"{name}:{getattr(endpoint, name)}".encode(), hashlib.sha256).hexdigest() for name in _SECRETS
    ]
    return [getattr(endpoint, name) for name in _FACTS] + secrets


def way_to(endpoint: Endpoint | None) -> tuple[object, ...]:
    """Return what says which server an endpoint leads to: what was read there is not of another one."""
    bastion = (endpoint.ssh_host, endpoint.ssh_port) if endpoint and endpoint.ssh_host else ("", 0)
    return (endpoint.host, endpoint.port, *bastion) if endpoint else ()


_Table = tuple[str, str, str]
Edge = tuple[_Table, _Table]
"""(child, parent) of a foreign key, each as (database, schema, table)."""


def missing_parents(task: MigrationTask, selection: Selection) -> list[Edge]:
    """Return (child, parent) pairs where the child is selected and the parent of its foreign key is not.

    A partition counts as the table that it belongs to.
    """
    partial = {name for name in _databases(task) if selection.state(name) == "some"}
    if not partial:
        return []
    choosers: dict[tuple[str, str], Callable[[str], bool]] = {}

    def chosen(database: str, schema: str, name: str) -> bool:
        at = database, schema
        if at not in choosers:
            choosers[at] = selection.chooser(database, schema)
        return choosers[at](name)

    pairs: list[Edge] = []
    for child, root, parents in of_reading(task, "references", lambda: _references(task)):
        missing = [parent for parent in parents if not chosen(*parent)] if child[0] in partial else []
        if missing and (selection.mode_of(child[0], child[1:], root) if root else chosen(*child)):
            pairs += [(child, parent) for parent in missing]
    return of_roots(task, selection, sorted(pairs))


def _references(task: MigrationTask) -> list[tuple[_Table, tuple[str, str] | None, tuple[_Table, ...]]]:
    """Return each table that refers to others, the table that it is a partition of, and those that it refers to."""
    rows = (
        SourceObject.objects.filter(task=task, level__in=[Level.TABLE, Level.PARTITION])
        .annotate(listed=Cast("fk_parents", TextField()))
        .exclude(listed="[]")
        .values_list("database", "schema", "name", "root_schema", "root", "listed")
        .order_by()
    )
    return [
        (
            (intern(database), intern(schema), name),
            (root_schema or schema, root) if root else None,
            tuple((intern(database), intern(parent[0]), parent[1]) for parent in json.loads(listed)),
        )
        for database, schema, name, root_schema, root, listed in rows
    ]


def _databases(task: MigrationTask) -> list[str]:
    return list(SourceObject.objects.filter(task=task, level=Level.DATABASE).values_list("database", flat=True))


def of_roots(task: MigrationTask, selection: Selection, pairs: list[Edge]) -> list[Edge]:
    """Return the pairs with the tables that partitions among the parents belong to, where those are left out too."""
    if not pairs:
        return []
    roots = of_reading(task, "roots", lambda: _roots(task))
    found = [(child, roots.get(parent, parent)) for child, parent in pairs]
    return [pair for pair in found if not selection.includes(*pair[1])]


def _roots(task: MigrationTask) -> dict[_Table, _Table]:
    """Return for each partition the table that it belongs to in the end."""
    rows = SourceObject.objects.filter(task=task, level=Level.PARTITION).exclude(root="").order_by()
    return {
        (intern(database), intern(schema), name): (intern(database), intern(root_schema), intern(root))
        for database, schema, name, root_schema, root in rows.values_list(
            "database", "schema", "name", "root_schema", "root"
        )
    }
