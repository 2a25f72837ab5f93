"""The first administrator: one address, printed by `up`, that works once, for a day, and only while it is needed."""

from __future__ import annotations

import io
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from migrations_app import services
from migrations_app.management.commands import up
from migrations_app.models import AuditEntry, SetupToken, User
from tests import factories

pytestmark = pytest.mark.django_db
GOOD = "a boat under the old bridge"


@pytest.fixture
def address() -> str:
    token = services.new_setup_token()
    assert token
    return f"/setup/{token}/"


def _send(address: str, **changes: str) -> int:
    data = {"account": "root", "password": GOOD, "repeated": GOOD} | changes
    return Client().post(address, data).status_code


def test_a_fresh_installation_has_no_user() -> None:
    assert not User.objects.exists()


def test_the_page_makes_an_administrator_who_is_signed_in(address: str) -> None:
    client = Client()
    page = client.post(address, {"account": "root", "password": GOOD, "repeated": GOOD}, follow=True)
    assert "You are the administrator." in page.content.decode()
    assert User.objects.get().has_role("admin")
    assert client.get("/users/").status_code == 200
    assert AuditEntry.objects.get(action="first-administrator").actor == "root"


def test_the_address_works_once(address: str) -> None:
    assert _send(address) == 302
    assert _send(address, account="second") == 404
    assert User.objects.count() == 1


def test_only_the_hash_of_the_token_is_kept(address: str) -> None:
    token = address.split("/")[2]
    assert token not in str(SetupToken.objects.values().get())


def test_the_address_ends_after_a_day(address: str) -> None:
    SetupToken.objects.update(made_at=timezone.now() - timedelta(hours=24, seconds=1))
    assert Client().get(address).status_code == 404
    assert _send(address) == 404


def test_a_new_start_voids_the_former_address(address: str) -> None:
    assert services.new_setup_token()
    assert Client().get(address).status_code == 404


def test_the_address_is_closed_once_an_administrator_came_by_the_shell(address: str) -> None:
    User.objects.create_superuser("shell", password=GOOD)
    assert Client().get(address).status_code == 404
    assert _send(address) == 404
    assert services.new_setup_token() is None


def test_an_operator_alone_does_not_close_the_address(address: str) -> None:
    factories.user("olga")
    assert Client().get(address).status_code == 200


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"password": "short", "repeated": "short"}, "too short"),
        ({"password": "password1234", "repeated": "password1234"}, "too common"),
        ({"account": "bridgekeeper", "password": "bridgekeeper1", "repeated": "bridgekeeper1"}, "too similar"),
        ({"repeated": "something else entirely"}, "The two passwords differ."),
        ({"account": ""}, "Enter a name for the account."),
        ({"account": "no spaces please"}, "Enter a valid username."),
    ],
)
def test_weak_or_wrong_values_are_named_and_spend_nothing(address: str, changes: dict[str, str], said: str) -> None:
    data = {"account": "root", "password": GOOD, "repeated": GOOD} | changes
    page = Client().post(address, data)
    assert page.status_code == 422
    assert said in page.content.decode()
    assert not User.objects.exists()
    assert SetupToken.objects.get().used_at is None


def test_a_taken_name_spends_nothing(address: str) -> None:
    factories.user("root", role="viewer")
    assert _send(address) == 422
    assert SetupToken.objects.get().used_at is None


def _printed(monkeypatch: pytest.MonkeyPatch) -> str:
    class Nothing:
        def run(self) -> int:
            return 0

    monkeypatch.setattr(up, "prepare", lambda only: None)
    monkeypatch.setattr(up, "supervisor", lambda *arguments: Nothing())
    monkeypatch.setattr(up, "port_is_free", lambda host, port: True)
    monkeypatch.setattr(up.connections, "close_all", lambda: None)
    monkeypatch.setattr(up.os, "umask", lambda mask: 0)  # it would stay with everything that this process makes later
    out = io.StringIO()
    call_command("up", host="0.0.0.0", port=8611, stdout=out)  # noqa: S104 - nothing listens in this test
    return out.getvalue()


def test_up_prints_one_address_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = _printed(monkeypatch)
    (path,) = re.findall(r"http://localhost:8611(/setup/\S+/)", printed)
    assert Client().get(path).status_code == 200


def test_up_prints_none_once_there_is_an_administrator(monkeypatch: pytest.MonkeyPatch) -> None:
    factories.user("root", role="admin")
    assert "/setup/" not in _printed(monkeypatch)


def test_the_sign_in_page_says_where_the_first_account_is_made() -> None:
    assert "Nobody has an account yet." in Client().get("/login/").content.decode()
    factories.user("olga")
    assert "Nobody has an account yet." not in Client().get("/login/").content.decode()


@pytest.mark.django_db(transaction=True)
def test_of_many_who_send_the_page_at_once_one_becomes_administrator() -> None:
    token = services.new_setup_token() or ""

    def send(number: int) -> bool:
        try:
            services.create_first_administrator(token=token, account=f"root{number}", password=GOOD)
        except services.NotFound:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(send, range(6))) == 1
    assert User.objects.count() == 1
