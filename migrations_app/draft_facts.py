"""What follows from a draft as it stands: its fingerprint, and what its selection leaves out. Pure reading."""

from __future__ import annotations

import hashlib
import hmac
import json

from django.conf import settings

from .engine.selection import Selection
from .models import Endpoint, MigrationTask, SourceObject

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


def _facts(endpoint: Endpoint) -> list[object]:
    key = settings.SECRET_KEY.encode()
    secrets = [
        hmac.new(key, f"{name}:{getattr(endpoint, name)}".encode(), hashlib.sha256).hexdigest() for name in _SECRETS
    ]
    return [getattr(endpoint, name) for name in _FACTS] + secrets


def missing_parents(
    task: MigrationTask, selection: Selection
) -> list[tuple[tuple[str, str, str], tuple[str, str, str]]]:
    """Return (child, parent) pairs where the child is selected and the parent of its foreign key is not."""
    pairs = []
    for row in SourceObject.objects.filter(task=task).exclude(fk_parents=[]):
        child = (row.database, row.schema, row.name)
        if not selection.includes(*child):
            continue
        pairs += [
            (child, (row.database, schema, name))
            for schema, name in row.fk_parents
            if not selection.includes(row.database, schema, name)
        ]
    return pairs
