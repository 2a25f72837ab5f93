"""What follows from a draft as it stands: its fingerprint, and what its selection leaves out. Pure reading."""

from __future__ import annotations

import hashlib
import hmac
import json

from django.conf import settings

from .engine.selection import Selection
from .models import MigrationTask, SourceObject


def draft_hash(task: MigrationTask) -> str:
    """Return the fingerprint of everything that a check result depends on, passwords included but not readable."""
    sides = []
    for endpoint in (task.source, task.target):
        if endpoint is not None:
            secret = hmac.new(settings.SECRET_KEY.encode(), endpoint.password.encode(), hashlib.sha256).hexdigest()
            sides.append(
                [
                    endpoint.host,
                    endpoint.port,
                    endpoint.account,
                    endpoint.database,
                    endpoint.tls_mode,
                    endpoint.kind,
                    secret,
                ]
            )
    selection = Selection.from_json(task.selection).to_json()
    return hashlib.sha256(json.dumps([sides, task.incremental, selection]).encode()).hexdigest()


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
