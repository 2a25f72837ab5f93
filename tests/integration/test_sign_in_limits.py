"""Guessing passwords: limited per address, without locking anybody else out."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import connection
from django.test import Client
from django.utils import timezone

from migrations_app import services
from migrations_app.models import AuditEntry, SignInFailure, User
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


def test_a_refusal_is_told_once_and_the_password_is_the_field_to_type_into(alice: User) -> None:
    page = Client().post("/login/", {"username": "alice", "password": "wrong"}).text
    assert page.count("This account and password do not match") == 1
    assert 'class="note bad" role="alert"' in page
    fields = {re.search(r'name="(\w+)"', tag)[1]: tag for tag in re.findall(r"<input[^>]*>", page)}  # type: ignore[index]
    assert [name for name, tag in fields.items() if "autofocus" in tag] == ["password"]
    assert 'value="alice"' in fields["username"]


def test_the_account_is_the_field_to_type_into_at_first_and_when_it_is_missing(alice: User) -> None:
    for page in (Client().get("/login/").text, Client().post("/login/", {"username": "", "password": "x"}).text):
        tags = re.findall(r"<input[^>]*autofocus[^>]*>", page)
        assert len(tags) == 1
        assert 'name="username"' in tags[0]


def test_many_addresses_of_one_network_count_as_one(alice: User) -> None:
    for number in range(PER_ACCOUNT_AND_ADDRESS):
        assert attempt("wrong", address=f"2001:db8:1:2::{number:x}") == 422
    assert attempt(RIGHT, address="2001:db8:1:2:ffff::1") == 429
    assert attempt(RIGHT, address="2001:db8:1:3::1") == 302


def test_another_spelling_of_the_account_is_the_same_account(alice: User) -> None:
    for number in range(PER_ACCOUNT_AND_ADDRESS):
        assert attempt("wrong", account=["alice", " Alice", "ALICE "][number % 3]) == 422
    assert attempt(RIGHT) == 429


def test_who_is_refused_is_not_kept_out_for_longer_by_trying(guessed: User) -> None:
    before = SignInFailure.objects.count()
    assert attempt("wrong") == 429
    assert SignInFailure.objects.count() == before


def test_refused_tries_are_written_down_once_a_minute(guessed: User) -> None:
    for _ in range(5):
        attempt(RIGHT)
    entry = AuditEntry.objects.get(action="sign-in-refused")
    assert (entry.subject, entry.message) == ("192.0.2.7", "Too many wrong passwords from this address.")


def test_a_missing_password_is_no_attempt(alice: User) -> None:
    assert attempt("") == 422
    assert not SignInFailure.objects.exists()


def test_a_forged_header_gives_nobody_new_tries(guessed: User) -> None:
    data = {"username": "alice", "password": RIGHT}
    answer = Client().post("/login/", data, REMOTE_ADDR="192.0.2.7", HTTP_X_FORWARDED_FOR="203.0.113.5")
    assert answer.status_code == 429


def test_an_unknown_account_costs_as_much_work_as_a_known_one(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    User.objects.create(username="gone", password=alice.password, is_active=False)
    worked: list[str] = []
    original = PBKDF2PasswordHasher.encode

    def counted(self: PBKDF2PasswordHasher, password: str, salt: str, iterations: int | None = None) -> str:
        worked.append(password)
        return original(self, password, salt, iterations)

    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", counted)
    costs = []
    for account in ("alice", "nobody", "gone"):
        worked.clear()
        attempt("wrong", account=account)
        costs.append(len(worked))
    assert costs == [1, 1, 1]


@pytest.mark.long
@pytest.mark.django_db(transaction=True)
def test_of_a_thousand_tries_at_once_no_more_than_the_limit_get_through() -> None:
    def tries(number: int) -> int:
        try:
            return sum(services.may_sign_in(address="192.0.2.7", account="alice") for _ in range(number))
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        passed = sum(pool.map(tries, [125] * 8))
    assert 1 <= passed <= PER_ACCOUNT_AND_ADDRESS
