"""System checks: the installation refuses to start when it could not work, and says what to do."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection

from . import crypto

COMMAND_LINE = "towpath"
"""Tag of what a command of the engine needs: the other checks load every page of the console."""


@register(Tags.security, COMMAND_LINE)
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
    """Every stored password and key opens with the keys of this installation."""
    try:
        tables = connection.introspection.table_names()
        for model, names in crypto.secret_columns(apps.get_app_config("migrations_app").get_models()):
            for row in model._default_manager.only(*names).iterator() if model._meta.db_table in tables else ():
                del row
    except crypto.UnreadableSecret as error:
        return [Error(str(error), id="towpath.E002")]
    except DatabaseError:
        return []  # not migrated yet; `manage.py up` does that first
    return []
