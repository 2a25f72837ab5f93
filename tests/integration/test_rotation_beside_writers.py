"""Keys are rotated while the console and its workers write secrets: the newer one always stays."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.db import connection, connections
from pytest_django import Settings

from migrations_app.models import Endpoint
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def at_the_first_update(write: Callable[[], Any]) -> Iterator[None]:
    """Let somebody else write in the moment in which a row that was read is about to be written."""
    writers: list[threading.Thread] = []

    def work() -> None:
        try:
            write()
        finally:
            connections.close_all()

    def beside(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("UPDATE") and not writers:
            writers.append(threading.Thread(target=work))
            writers[0].start()
            writers[0].join(1.0)  # it may have to wait for us
        return execute(sql, params, many, context)

    with connection.execute_wrapper(beside):
        yield
    assert writers
    writers[0].join()


@pytest.fixture
def keys(settings: Settings) -> str:
    """The new key, put first."""
    new = Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [new, *settings.ENCRYPTION_KEYS]
    return new


def test_a_password_that_is_changed_meanwhile_stays_changed(keys: str, settings: Settings) -> None:
    kept = factories.endpoint()
    with at_the_first_update(lambda: Endpoint.objects.filter(pk=kept.pk).update(password="the newer one")):
        call_command("rotate_keys")
    settings.ENCRYPTION_KEYS = [keys]
    assert Endpoint.objects.get(pk=kept.pk).password == "the newer one"


def test_a_row_that_is_deleted_meanwhile_stops_nothing(keys: str, settings: Settings) -> None:
    gone, kept = factories.endpoint(), factories.endpoint(host="10.0.4.9")
    with at_the_first_update(lambda: Endpoint.objects.filter(pk=gone.pk).delete()):
        call_command("rotate_keys")
    settings.ENCRYPTION_KEYS = [keys]
    assert list(Endpoint.objects.values_list("pk", "password")) == [(kept.pk, factories.CANARY)]
