"""Sessions: a new key at sign-in, twelve hours at most, thirty minutes without use."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

from migrations_app.models import User
from tests import factories
from tests.installation import Installation

pytestmark = pytest.mark.django_db
HOUR = 3600


@pytest.fixture
def olga() -> User:
    return factories.user("olga")


@pytest.fixture
def client(olga: User) -> Client:
    made = Client()
    made.force_login(olga)
    return made


def age(client: Client, *, began: float, seen: float) -> None:
    """Let the session have begun and been used so many seconds ago."""
    session = client.session
    now = int(time.time())
    session["began"], session["seen"] = now - int(began), now - int(seen)
    session.save()


def is_in(client: Client) -> bool:
    return client.get("/").status_code == 200


def test_signing_in_gives_the_session_a_new_key(olga: User) -> None:
    client = Client()
    session = client.session
    session["kept"] = 1
    session.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = str(session.session_key)
    client.post("/login/", {"username": "olga", "password": factories.PASSWORD})
    assert client.session.session_key != session.session_key
    assert not Client(headers={"cookie": f"{settings.SESSION_COOKIE_NAME}={session.session_key}"}).session.keys()


def test_a_session_ends_after_thirty_minutes_without_use(client: Client) -> None:
    age(client, began=HOUR, seen=29 * 60)
    assert is_in(client)
    age(client, began=HOUR, seen=30 * 60 + 1)
    assert not is_in(client)
    assert "Your session has ended." in client.get("/login/").content.decode()


def test_a_session_ends_after_twelve_hours_however_busy(client: Client) -> None:
    age(client, began=12 * HOUR + 1, seen=0)
    assert not is_in(client)


def test_use_keeps_a_session_and_polling_does_not(client: Client) -> None:
    age(client, began=HOUR, seen=1000)
    client.get("/live/")
    assert time.time() - client.session["seen"] > 900
    client.get("/")
    assert time.time() - client.session["seen"] < 900


def test_a_session_that_does_not_know_its_age_ends(client: Client) -> None:
    session = client.session
    del session["began"]
    session.save()
    assert not is_in(client)


def test_signing_out_by_a_link_is_not_possible(client: Client) -> None:
    assert client.get("/logout/").status_code == 405
    assert is_in(client)


def test_cookies_are_kept_from_scripts_and_other_sites(olga: User) -> None:
    client = Client()
    client.post("/login/", {"username": "olga", "password": factories.PASSWORD})
    cookie = client.cookies[settings.SESSION_COOKIE_NAME]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert int(cookie["max-age"]) == 12 * HOUR


def test_over_https_cookies_belong_to_this_very_host(tmp_path: Path) -> None:
    code = (
        "from django.conf import settings as s;"
        "print(s.SESSION_COOKIE_NAME, s.CSRF_COOKIE_NAME, s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE,"
        " s.SESSION_COOKIE_PATH, s.SESSION_COOKIE_DOMAIN, s.LANGUAGE_COOKIE_SECURE)"
    )
    installation = Installation(tmp_path, TOWPATH_HTTPS="1")
    assert installation.shell(code).split() == ["__Host-session", "__Host-csrf", "True", "True", "/", "None", "True"]
