"""System checks: the installation refuses to start when it could not work, and says what to do."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection

from . import crypto
from .models import Endpoint


@register(Tags.security)
def key_is_usable(**_: Any) -> list[CheckMessage]:
    """The encryption key exists and is one."""
    try:
        crypto.box()
    except ImproperlyConfigured as error:
        return [
            Error(
                str(error), hint="Run manage.py generate_key, and keep the key outside the database.", id="towpath.E001"
            )
        ]
    return []


@register(Tags.database)
def stored_secrets_open(**_: Any) -> list[CheckMessage]:
    """Every stored password opens with the keys of this installation."""
    try:
        if Endpoint._meta.db_table not in connection.introspection.table_names():
            return []
        for endpoint in Endpoint.objects.only("password").iterator():
            del endpoint
    except crypto.UnreadableSecret as error:
        return [Error(str(error), id="towpath.E002")]
    except DatabaseError:
        return []  # not migrated yet; `manage.py up` does that first
    return []
