"""Names on the target: what the tree says of them is true of the names that are saved, not of former ones."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains

from migrations_app import services
from migrations_app.models import MigrationTask, SourceObject
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def draft() -> MigrationTask:
    """Everything is selected, and the target has databases and schemas of the same names."""
    task = factories.task()
    factories.inventory(task)
    task.source_objects.filter(kind__in=["database", "schema"]).update(at_target="there", at_target_rows=5)
    return task


def _rename(
    task: MigrationTask, databases: dict[str, str], schemas: dict[tuple[str, str], str]
) -> set[tuple[str, str]]:
    """Give other names, and return the databases and schemas of which something is still known to be on the target."""
    services.set_targets(task_id=task.pk, actor=None, databases=databases, schemas=schemas)
    return set(task.source_objects.exclude(at_target="").values_list("database", "schema"))


def test_what_was_found_under_a_former_name_is_not_said_of_another_one(draft: MigrationTask) -> None:
    others = {("analytics", ""), ("analytics", "public"), ("template1", "")}
    assert _rename(draft, {"shop": "shop"}, {("shop", "public"): "app"}) == others | {("shop", "")}
    assert _rename(draft, {"shop": "shop_new"}, {}) == others
    assert not draft.source_objects.filter(at_target="").exclude(at_target_rows=None).exists()


def test_a_name_that_is_saved_as_it_was_is_still_known(draft: MigrationTask) -> None:
    before = set(draft.source_objects.exclude(at_target="").values_list("database", "schema"))
    assert _rename(draft, {"shop": "", "analytics": "analytics"}, {("shop", "public"): "public"}) == before


def test_what_cannot_move_has_no_name_on_the_target(draft: MigrationTask, client: Client) -> None:
    SourceObject.objects.create(
        task=draft, database="shop", schema="pg_temp_3", kind="schema", selectable=False, reason="Temporary."
    )
    _rename(draft, {"shop": "shop_new"}, {})
    client.force_login(factories.user("anna"))
    page = client.get(reverse("tasks:tree", args=[draft.pk]), {"path": "shop"})
    assertContains(page, "Temporary.")
    assertContains(page, "on the target: shop_new.public")
    assertNotContains(page, "shop_new.pg_temp_3")
