"""Guessing passwords: limited per address, without locking anybody else out."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from migrations_app.models import SignInFailure, User
from migrations_app.services.sign_in import PER_ACCOUNT_AND_ADDRESS, PER_ADDRESS, WINDOW_MINUTES

pytestmark = pytest.mark.django_db
RIGHT = "correct horse battery"


def attempt(password: str, account: str = "alice", address: str = "192.0.2.7") -> int:
    data = {"username": account, "password": password}
    return Client().post("/login/", data, REMOTE_ADDR=address).status_code


@pytest.fixture
def guessed(alice: User) -> User:
    """Alice, for whom somebody at 192.0.2.7 has used up all tries."""
    for _ in range(PER_ACCOUNT_AND_ADDRESS):
        assert attempt("wrong") == 422
    return alice


def test_after_ten_wrong_passwords_even_the_right_one_is_refused_there(guessed: User) -> None:
    assert attempt(RIGHT) == 429


def test_the_owner_still_signs_in_from_elsewhere(guessed: User) -> None:
    assert attempt(RIGHT, address="192.0.2.8") == 302


def test_after_the_window_the_address_may_try_again(guessed: User) -> None:
    SignInFailure.objects.update(at=timezone.now() - timedelta(minutes=WINDOW_MINUTES, seconds=1))
    assert attempt(RIGHT) == 302


def test_many_accounts_from_one_address_are_limited_too(alice: User) -> None:
    SignInFailure.objects.bulk_create(
        SignInFailure(address="192.0.2.7", account=f"guess{number}") for number in range(PER_ADDRESS)
    )
    assert attempt(RIGHT) == 429


def test_a_right_password_starts_the_count_anew(alice: User) -> None:
    for _ in range(PER_ACCOUNT_AND_ADDRESS - 1):
        attempt("wrong")
    assert attempt(RIGHT) == 302
    assert attempt("wrong") == 422


def test_unknown_accounts_read_the_same_as_wrong_passwords(alice: User) -> None:
    known = Client().post("/login/", {"username": "alice", "password": "wrong"}).content
    unknown = Client().post("/login/", {"username": "nobody", "password": "wrong"}).content
    text = b"This account and password do not match"
    assert text in known
    assert text in unknown
