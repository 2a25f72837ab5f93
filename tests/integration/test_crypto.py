"""Passwords at rest: rotation, wrong keys, row access."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from pytest_django import Settings

from migrations_app import checks, crypto
from migrations_app.models import Endpoint, MigrationTask, ProviderAccount

from .conftest import CANARY

pytestmark = pytest.mark.django_db


def test_a_rotated_password_opens_with_the_new_key_alone(draft: MigrationTask, settings: Settings) -> None:
    new = Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [new, *settings.ENCRYPTION_KEYS]
    call_command("rotate_keys")
    settings.ENCRYPTION_KEYS = [new]
    assert Endpoint.objects.get(pk=draft.source_id).password == CANARY


def test_every_secret_of_every_table_is_rotated(draft: MigrationTask, settings: Settings) -> None:
    names = {"client_key_pem": "k", "ssh_password": "p", "ssh_private_key": "s"}
    for name, value in names.items():
        setattr(draft.source, name, value)
    draft.source.save()
    ProviderAccount.objects.create(provider="tencent", secret_id="AKID", secret_key="cloud")
    new = Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [new, *settings.ENCRYPTION_KEYS]
    call_command("rotate_keys")
    settings.ENCRYPTION_KEYS = [new]
    assert checks.stored_secrets_open() == []
    stored = Endpoint.objects.get(pk=draft.source_id)
    assert {name: str(getattr(stored, name)) for name in names} == names
    assert ProviderAccount.objects.get().secret_key == "cloud"


def test_a_wrong_key_is_an_error_and_never_an_empty_password(draft: MigrationTask, settings: Settings) -> None:
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(crypto.UnreadableSecret, match="put the old key back"):
        Endpoint.objects.get(pk=draft.source_id)


def test_start_is_refused_when_stored_passwords_cannot_be_opened(draft: MigrationTask, settings: Settings) -> None:
    assert checks.stored_secrets_open() == []
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert [message.id for message in checks.stored_secrets_open()] == ["towpath.E002"]


@pytest.mark.parametrize("keys", [[], ["not a key"]])
def test_start_is_refused_without_a_usable_key(settings: Settings, keys: list[str]) -> None:
    settings.ENCRYPTION_KEYS = keys
    assert [message.id for message in checks.key_is_usable()] == ["towpath.E001"]


def test_rotation_stops_at_a_value_that_no_key_opens(draft: MigrationTask, settings: Settings) -> None:
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(CommandError, match="put the old key back"):
        call_command("rotate_keys")


def test_a_generated_key_is_usable(settings: Settings, capsys: Any) -> None:
    call_command("generate_key")
    settings.ENCRYPTION_KEYS = [capsys.readouterr().out.strip()]
    assert crypto.decrypt(crypto.encrypt("x")) == "x"
