"""Users and profile: roles, passwords, the last administrator, sessions that end."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from migrations_app import services
from migrations_app.models import AuditEntry, User
from tests import factories

pytestmark = pytest.mark.django_db
GOOD = "a boat under the old bridge"


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def is_out(client: Client) -> bool:
    response = client.get("/profile/")
    return response.status_code == 302 and response["Location"].startswith("/login/")


@pytest.fixture
def root() -> User:
    return factories.user("root", role="admin")


@pytest.fixture
def olga() -> User:
    return factories.user("olga")


@pytest.fixture
def admin(root: User) -> Client:
    return signed_in(root)


def test_an_account_without_a_password_gets_one_that_is_shown_once_and_must_be_changed(admin: Client) -> None:
    page = admin.post("/users/new/", {"account": "nina", "role": "viewer"}).content.decode()
    (password,) = re.findall(r'<code id="one-time">([^<]+)</code>', page)
    client = Client()
    client.post("/login/", {"username": "nina", "password": password})
    assert client.get("/")["Location"] == "/profile/"
    client.post("/profile/password/", {"old": password, "password": GOOD, "repeated": GOOD})
    assert client.get("/").status_code == 200
    assert password not in admin.get("/users/").content.decode()


def test_until_a_one_time_password_is_changed_nothing_else_can_be_done() -> None:
    client = signed_in(factories.user("nina", must_change_password=True))
    assert client.post("/tasks/new/", {})["Location"] == "/profile/"
    assert client.get("/live/", HTTP_HX_REQUEST="true")["HX-Redirect"] == "/profile/"
    assert client.post("/logout/").status_code == 302


def test_an_administrator_may_set_the_password_of_a_new_account(admin: Client) -> None:
    admin.post("/users/new/", {"account": "nina", "role": "operator", "password": GOOD})
    nina = User.objects.get(username="nina")
    assert nina.check_password(GOOD)
    assert not nina.must_change_password
    assert nina.has_role("operator")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"account": "olga", "role": "viewer"}, "There is an account of this name already."),
        ({"account": "nina", "role": "emperor"}, "Select a valid choice."),
        ({"account": "nina", "role": "viewer", "password": "short"}, "too short"),
        ({"account": "", "role": "viewer"}, "Enter a name for the account."),
    ],
)
def test_wrong_values_of_a_new_account_are_named(admin: Client, olga: User, data: dict[str, str], said: str) -> None:
    page = admin.post("/users/new/", data)
    assert page.status_code == 422
    assert said in page.content.decode()
    assert User.objects.count() == 2


def test_extra_fields_of_a_form_are_ignored(admin: Client, olga: User) -> None:
    admin.post(
        f"/users/{olga.pk}/role/", {"role": "viewer", "is_superuser": "1", "username": "x", "session_epoch": "9"}
    )
    olga.refresh_from_db()
    assert (olga.username, olga.is_superuser, olga.role) == ("olga", False, "viewer")


def test_a_change_of_role_ends_the_sessions_and_is_written_down(admin: Client, olga: User) -> None:
    client = signed_in(olga)
    assert not is_out(client)
    admin.post(f"/users/{olga.pk}/role/", {"role": "viewer"})
    assert is_out(client)
    entry = AuditEntry.objects.get(action="user-role")
    assert (entry.actor, entry.subject, entry.message) == ("root", "olga", "Role operator → viewer.")
    assert entry.address == "127.0.0.1"


def test_a_deactivated_user_is_out_with_the_next_request_and_stays_out(admin: Client, olga: User) -> None:
    client = signed_in(olga)
    admin.post(f"/users/{olga.pk}/active/", {"active": "0"})
    assert is_out(client)
    assert Client().post("/login/", {"username": "olga", "password": factories.PASSWORD}).status_code == 422
    admin.post(f"/users/{olga.pk}/active/", {"active": "1"})
    assert is_out(client)
    assert Client().post("/login/", {"username": "olga", "password": factories.PASSWORD}).status_code == 302


def test_a_reset_password_ends_the_sessions(admin: Client, olga: User) -> None:
    client = signed_in(olga)
    admin.post(f"/users/{olga.pk}/password/", {"password": GOOD})
    assert is_out(client)
    assert "GOOD" not in str(AuditEntry.objects.values())


def test_the_last_administrator_can_neither_be_demoted_nor_deactivated(admin: Client, root: User) -> None:
    for path, data in (("role", {"role": "operator"}), ("active", {"active": "0"})):
        page = admin.post(f"/users/{root.pk}/{path}/", data, follow=True)
        assert "root is the last administrator." in page.content.decode()
    root.refresh_from_db()
    assert root.has_role("admin")
    assert not AuditEntry.objects.exists()


def test_a_deactivated_administrator_does_not_count_as_one(admin: Client, root: User) -> None:
    factories.user("gone", role="admin", is_active=False)
    with pytest.raises(services.Refused, match="last administrator"):
        services.change_role(actor=root, user_id=root.pk, role="viewer")


def test_an_administrator_may_step_down_when_there_is_another(admin: Client, root: User) -> None:
    factories.user("deputy", role="admin")
    assert admin.post(f"/users/{root.pk}/role/", {"role": "viewer"}).status_code == 302
    assert is_out(admin)


def test_a_superuser_of_the_shell_is_an_administrator_and_can_be_demoted(admin: Client, root: User) -> None:
    boss = User.objects.create_superuser("boss", password=GOOD)
    assert boss.effective_role == "admin"
    services.change_role(actor=root, user_id=boss.pk, role="viewer")
    boss.refresh_from_db()
    assert not boss.has_role("operator")


def test_a_missing_user_is_404(admin: Client) -> None:
    assert admin.get("/users/99999/").status_code == 404
    assert admin.post("/users/99999/role/", {"role": "admin"}).status_code == 404


def test_changing_ones_password_keeps_this_session_and_ends_the_others(olga: User) -> None:
    here, there = signed_in(olga), signed_in(olga)
    data = {"old": factories.PASSWORD, "password": GOOD, "repeated": GOOD}
    assert here.post("/profile/password/", data).status_code == 302
    assert not is_out(here)
    assert is_out(there)


def test_the_present_password_is_asked_for(olga: User) -> None:
    page = signed_in(olga).post("/profile/password/", {"old": "wrong", "password": GOOD, "repeated": GOOD})
    assert page.status_code == 422
    assert "This is not your present password." in page.content.decode()


def test_signing_out_everywhere_else_keeps_this_session(olga: User) -> None:
    here, there = signed_in(olga), signed_in(olga)
    here.post("/profile/sessions/")
    assert not is_out(here)
    assert is_out(there)


def test_viewers_see_no_buttons_that_change_something(olga: User) -> None:
    task = factories.checked_task()
    viewer = signed_in(factories.user("vera", role="viewer"))
    confirm = reverse("tasks:confirm", args=[task.id, "start"])
    assert confirm in signed_in(olga).get("/").content.decode()
    page = viewer.get("/").content.decode()
    assert confirm not in page
    assert "Create Task" not in page


@pytest.mark.django_db(transaction=True)
def test_administrators_who_remove_each_other_at_once_leave_one() -> None:
    admins = [factories.user(f"admin{number}", role="admin") for number in range(4)]

    def remove(number: int) -> None:
        other = admins[(number + 1) % len(admins)]
        try:
            services.set_active(actor=admins[number], user_id=other.pk, active=False)
        except services.Refused:
            pass
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(remove, range(4)))
    assert User.objects.filter(is_active=True, role="admin").count() == 1
