"""The object tree: what it shows, how it is searched, what moves and under which name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from migrations_app import selectors, services
from migrations_app.engine.selection import Selection
from migrations_app.models import ConnectionTest, MigrationTask, SourceObject
from migrations_app.selectors.tallies import tallies
from tests import factories

HTMX = {"headers": {"HX-Request": "true"}}
NONE: dict[str, Any] = {"rules": [], "targets": {}}


@pytest.fixture
def anna(client: Client, db: None) -> Client:
    client.force_login(factories.user("anna"))
    return client


@pytest.fixture
def task(db: None) -> MigrationTask:
    """A draft whose source has something of everything; nothing is selected."""
    made = factories.task(selection=NONE)
    factories.inventory(made)

    def add(name: str, kind: str = "table", **fields: Any) -> None:
        defaults = {"database": "shop", "schema": "public"}
        SourceObject.objects.create(task=made, name=name, kind=kind, **(defaults | fields))

    add("events", "partitioned", bytes=7_000_000)
    for month in ("events_01", "events_02"):
        add(month, "partition", parent_schema="public", parent="events", root_schema="public", root="events")
    add("app_orders", bytes=5_000, needs=[["sequence", "public", "orders_seq"], ["type", "public", "mood"]])
    add("App_other", bytes=5_000)
    add("quick", unlogged=True)
    add("far", "foreign", selectable=False, reason="A foreign table has no rows of its own.")
    add("v_orders", "view")
    add("add(integer, integer)", "function")
    add("mood", "type")
    return made


def url(name: str, task: MigrationTask) -> str:
    return reverse(f"tasks:{name}", args=[task.id])


def level(client: Client, task: MigrationTask, *path: str, **query: str) -> Any:
    return client.get(url("tree", task), {"path": list(path), **query})


def post(client: Client, name: str, task: MigrationTask, field: str, **value: Any) -> Any:
    return client.post(url(name, task), {field: json.dumps(value)}, **HTMX)


def selection(task: MigrationTask) -> Selection:
    task.refresh_from_db()
    return Selection.from_json(task.selection)


def test_partitions_stand_under_their_table_and_have_no_box(anna: Client, task: MigrationTask) -> None:
    tables = level(anna, task, "shop", "public")
    assertContains(tables, "2 partitions")
    assertNotContains(tables, "events_01")
    below = level(anna, task, "shop", "public", "events")
    assertContains(below, "events_01")
    assert 'role="checkbox"' not in below.text


def test_what_comes_along_is_folded_with_its_counts(anna: Client, task: MigrationTask) -> None:
    tables = level(anna, task, "shop", "public")
    assertContains(tables, "1 view, 1 function, 1 type")
    assertNotContains(tables, "v_orders")
    along = level(anna, task, "shop", "public", along="1")
    assertContains(along, "v_orders")
    assertContains(along, "add(integer, integer)")
    assert 'role="checkbox"' not in along.text


def test_what_the_target_has_is_said_beside_each_object(anna: Client, task: MigrationTask) -> None:
    SourceObject.objects.filter(task=task, name="app_orders").update(at_target="table", at_target_rows=1204)
    assertContains(level(anna, task, "shop", "public"), "exists on the target, 1,204 rows (estimate)")


def test_unlogged_tables_are_remarked_only_when_changes_are_followed(anna: Client, task: MigrationTask) -> None:
    assertContains(level(anna, task, "shop", "public"), "the sync cannot see its changes")
    MigrationTask.objects.filter(pk=task.pk).update(incremental=False)
    assertNotContains(level(anna, task, "shop", "public"), "the sync cannot see its changes")


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("order", {"app_orders"}),
        ("app_", {"app_orders", "App_other"}),
        ("app_*", {"app_orders"}),
        ("public.e*", {"events", "events_01", "events_02"}),
        ("*_0?", {"events_01", "events_02"}),
        ("other.e*", set()),
        ("/^events_[0-9]{2}$/", {"events_01", "events_02"}),
        ("/o(rders|ther)$/", {"app_orders", "App_other"}),
        ("%", set()),
    ],
)
def test_a_search_looks_through_the_whole_instance(search: str, found: set[str], task: MigrationTask) -> None:
    assert {node.label for node in selectors.tree(task, (), search=search).nodes} == found


@pytest.mark.parametrize("search", ["events", "events*", "/^events/"])
def test_a_search_counts_tables_and_names_partitions_beside_them(
    search: str, anna: Client, task: MigrationTask
) -> None:
    found = level(anna, task, q=search)
    assertContains(found, f"1 table matches “{search}”")
    assertContains(found, "2 partitions as well; they move with their tables")
    assertNotContains(level(anna, task, q="app_orders"), "as well")


@pytest.mark.parametrize("search", ["/(a/", "/a**/", "/[z-a]/", "/(?=x)/", r"/(a)\1/", "/", "//", "a.b.*", ".*"])
def test_a_pattern_that_cannot_be_read_is_answered_with_the_reason(
    search: str, anna: Client, task: MigrationTask
) -> None:
    for name in ("tree", "objects"):
        answer = anna.get(url(name, task), {"q": search})
        assert answer.status_code == 422
        assertContains(answer, 'role="alert"', status_code=422)


def test_all_that_match_a_glob_are_kept_as_one_rule(anna: Client, task: MigrationTask) -> None:
    answer = post(anna, "matching", task, "matching", path=["shop"], q="app_*", mode="structure")
    assertContains(answer, "1 of 7 tables")
    assertContains(answer, "1 of them without data")
    assert selection(task).mode("shop", "public", "app_new") == "structure"
    assertContains(anna.get(url("objects", task)), "Forget the pattern app_* of shop")
    post(anna, "forget", task, "pattern", path=["shop"], q="app_*")
    assert not selection(task).includes("shop", "public", "app_new")


def test_all_that_match_a_regular_expression_get_rules_of_their_own(anna: Client, task: MigrationTask) -> None:
    post(anna, "matching", task, "matching", path=[], q="/^table_00[12]$/", mode="data")
    assert sorted(selection(task).rules) == [("shop", "public", "table_001"), ("shop", "public", "table_002")]


def test_a_table_can_move_without_its_data(anna: Client, task: MigrationTask) -> None:
    anna.post(url("toggle", task), {"pick": json.dumps({"path": ["shop"], "selected": True})})
    answer = post(anna, "mode", task, "mode", path=["shop", "public", "app_orders"], mode="structure")
    assertContains(answer, "7 of 7 tables")
    assertContains(answer, 'class="mode structure"', count=1)
    assert selection(task).mode("shop", "public", "app_orders") == "structure"


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("mode", "mode", {"path": ["shop"], "mode": "everything"}),
        ("mode", "mode", {"path": "shop", "mode": "data"}),
        ("mode", "mode", {"path": [["shop"]], "mode": "data"}),
        ("matching", "matching", {"path": ["shop"], "q": 7, "mode": "data"}),
        ("matching", "matching", {"path": ["shop"], "q": "a" * 200, "mode": "data"}),
        ("matching", "matching", {"q": "a*", "mode": "data"}),
        ("forget", "pattern", {"path": ["shop"]}),
        ("toggle", "pick", {"path": ["sh\x00op"], "selected": True}),
    ],
)
def test_what_no_page_of_ours_sends_is_refused(
    name: str, field: str, value: dict[str, Any], anna: Client, task: MigrationTask
) -> None:
    assert post(anna, name, task, field, **value).status_code == 400
    assert selection(task) == Selection()


@pytest.mark.parametrize(
    "path",
    [
        ["nowhere"],
        ["shop", "nowhere"],
        ["shop", "public", "nowhere"],
        ["shop", ""],
        ["template1"],
        ["shop", "public", "far"],
        ["shop", "public", "events_01"],
    ],
)
def test_what_the_source_does_not_have_or_cannot_move_is_refused(
    path: list[str], anna: Client, task: MigrationTask
) -> None:
    for name, field, value in (("toggle", "pick", {"selected": True}), ("mode", "mode", {"mode": "data"})):
        assert post(anna, name, task, field, path=path, **value).status_code == 409
    assert selection(task) == Selection()


def test_a_form_that_is_older_than_the_start_is_refused(anna: Client, task: MigrationTask) -> None:
    MigrationTask.objects.filter(pk=task.pk).update(status="running")
    assert post(anna, "mode", task, "mode", path=["shop"], mode="data").status_code == 409
    assert post(anna, "matching", task, "matching", path=["shop"], q="a*", mode="data").status_code == 409
    assert anna.post(url("keys", task), {"policy": "without"}, **HTMX).status_code == 409
    assert anna.post(url("mapping", task), {"path": '["shop"]', "target": "x"}, **HTMX).status_code == 409
    assert selection(task) == Selection()


def test_counts_agree_with_the_rules_whatever_they_are(task: MigrationTask) -> None:
    chosen = (
        Selection.everything()
        .choose(("shop", "public"), "structure")
        .choose(("shop", "public", "table_001"), "data")
        .choose_matching(("shop",), "app_*", "data")
        .choose_matching(("shop",), "public.table_00[12]", "")
        .choose(("shop", "public", "table_002"), "")
        .choose_matching(("shop", "public"), "q*", "")
    )
    for each in (chosen, chosen.toggle(("shop", "public"), True), Selection(), Selection.everything()):
        rows = SourceObject.objects.filter(task=task, level=2, selectable=True)
        modes = [(each.mode(row.database, row.schema, row.name), row.bytes) for row in rows]
        tally = tallies(task, each)[()]
        assert (tally.total, tally.chosen) == (len(modes), sum(1 for mode, _ in modes if mode))
        assert tally.structure == sum(1 for mode, _ in modes if mode == "structure")
        assert tally.chosen_bytes == sum(size for mode, size in modes if mode == "data")


def test_parents_of_parents_are_listed_before_they_are_added(anna: Client, task: MigrationTask) -> None:
    SourceObject.objects.filter(task=task, name="app_orders").update(fk_parents=[["public", "table_001"]])
    anna.post(url("toggle", task), {"pick": json.dumps({"path": ["shop", "public", "app_orders"], "selected": True})})
    needs = anna.get(url("closure", task))
    for words in ("shop.public.table_001", "shop.public.table_000", "shop.public.app_orders refers to it"):
        assertContains(needs, words)
    assertContains(needs, "2 tables, 3 MB")
    assertContains(needs, "public.mood")
    assert len(selection(task).rules) == 1
    assertRedirects(anna.post(url("parents", task)), url("objects", task))
    assert selection(task).includes("shop", "public", "table_000")
    assert selectors.selection_summary(task).missing_parents == []


def test_what_comes_along_with_parents_is_listed_before_they_are_added(anna: Client, task: MigrationTask) -> None:
    needs = [["sequence", "public", "orders_seq"], ["type", "hr", "grade"]]
    SourceObject.objects.filter(task=task, name="table_000").update(needs=needs)
    SourceObject.objects.filter(task=task, name="app_orders").update(fk_parents=[["public", "table_001"]])
    task = services.set_selected(task_id=task.pk, actor=None, path=("shop", "public", "app_orders"), selected=True)
    listed = selectors.closure(task)
    assert listed.along == {"sequence": ["public.orders_seq"], "type": ["public.mood"]}
    assert listed.with_parents == {"type": ["hr.grade"]}
    page = anna.get(url("closure", task))
    for words in ("And with the parents", "hr.grade"):
        assertContains(page, words)
    services.include_parents(task_id=task.pk, actor=None)
    task.refresh_from_db()
    assert selectors.closure(task).along["type"] == ["hr.grade", "public.mood"]
    assertNotContains(anna.get(url("closure", task)), "And with the parents")


def test_what_comes_along_can_be_looked_at_while_no_parent_is_missing(anna: Client, task: MigrationTask) -> None:
    pick = {"path": ["shop", "public", "app_orders"], "selected": True}
    link = f'href="{url("closure", task)}"'
    assertNotContains(anna.get(url("objects", task)), link)
    assertContains(anna.post(url("toggle", task), {"pick": json.dumps(pick)}, **HTMX), link, count=1)
    assertContains(anna.get(url("objects", task)), link, count=1)


def test_going_without_the_keys_is_kept_and_can_be_taken_back(anna: Client, task: MigrationTask) -> None:
    anna.post(url("toggle", task), {"pick": json.dumps({"path": ["shop", "public", "table_001"], "selected": True})})
    anna.post(url("keys", task), {"policy": "without"})
    assert selection(task).foreign_keys == "without"
    assertContains(anna.get(url("objects", task)), "1 foreign key will not be made on the target")
    assertContains(anna.get(url("closure", task)), "Require these foreign keys again")
    anna.post(url("keys", task), {"policy": "require"})
    assert selection(task).foreign_keys == "require"
    anna.post(url("keys", task), {"policy": "x"})
    assert selection(task).foreign_keys == "require"


def test_a_parent_that_cannot_move_is_not_added(anna: Client, task: MigrationTask) -> None:
    SourceObject.objects.filter(task=task, name="table_000").update(selectable=False, reason="No SELECT right.")
    anna.post(url("toggle", task), {"pick": json.dumps({"path": ["shop", "public", "table_001"], "selected": True})})
    assertContains(anna.get(url("closure", task)), "No SELECT right.")
    before = selection(task)
    anna.post(url("parents", task))
    assert selection(task) == before


def names(client: Client, task: MigrationTask, changes: dict[tuple[str, ...], str]) -> Any:
    fields = {"path": [json.dumps(path) for path in changes], "target": list(changes.values())}
    return client.post(url("mapping", task), fields)


@pytest.fixture
def whole(task: MigrationTask) -> MigrationTask:
    MigrationTask.objects.filter(pk=task.pk).update(selection=Selection.everything().to_json())
    task.refresh_from_db()
    return task


def test_databases_and_schemas_get_other_names_and_the_target_is_looked_at_again(
    anna: Client, whole: MigrationTask
) -> None:
    assertContains(anna.get(url("mapping", whole)), "Name of shop.public on the target")
    assert names(anna, whole, {("shop",): "shop_new", ("shop", "public"): "app"}).status_code == 302
    kept = selection(whole)
    assert kept.target_name("shop") == "shop_new"
    assert kept.target_schema("shop", "public") == "app"
    assert ConnectionTest.objects.get(task=whole, side="target", kind="inventory").state == "waiting"
    page = anna.get(url("objects", whole))
    assertContains(page, "on the target: shop_new")
    assertContains(page, "A worker looks at what the target has")
    names(anna, whole, {("shop",): "", ("shop", "public"): "public"})
    assert selection(whole).to_json() == Selection.everything().to_json()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({("shop",): "ü" * 32}, "64 bytes"),
        ({("shop",): "template1"}, "belongs to the server"),
        ({("shop",): "analytics"}, "same name on the target"),
        ({("shop", "public"): "pg_mine"}, "reserved"),
        ({("shop", "public"): "information_schema"}, "reserved"),
        ({("shop", "public"): "towpath"}, "reserved"),
        ({("shop", "public"): "audit"}, "same name on the target"),
        ({("nowhere",): "x"}, "does not have this"),
        ({("shop", "nowhere"): "x"}, "does not have this"),
        ({("shop",): "a\x00b"}, "cannot store"),
    ],
)
def test_a_name_that_cannot_be_is_refused_with_the_reason_and_what_was_typed(
    changes: dict[tuple[str, ...], str], reason: str, anna: Client, whole: MigrationTask
) -> None:
    SourceObject.objects.create(task=whole, database="shop", schema="audit", kind="schema")
    assertContains(names(anna, whole, changes), reason, status_code=422)
    assert selection(whole) == Selection.everything()
    assert not ConnectionTest.objects.filter(side="target").exists()


def test_two_names_can_be_exchanged(anna: Client, whole: MigrationTask) -> None:
    assert names(anna, whole, {("shop",): "analytics", ("analytics",): "shop"}).status_code == 302
    assert selection(whole).target_name("shop") == "analytics"


@pytest.mark.parametrize(
    "data",
    [{"path": "x", "target": "y"}, {"path": '["a"]'}, {"path": "[]", "target": "y"}, {"path": "[1]", "target": "y"}],
)
def test_names_in_another_shape_are_refused(data: dict[str, str], anna: Client, whole: MigrationTask) -> None:
    assert anna.post(url("mapping", whole), data).status_code == 400


def test_hostile_names_are_shown_harmlessly_and_can_be_selected(anna: Client, task: MigrationTask) -> None:
    evil = factories.HOSTILE[:60]
    SourceObject.objects.create(task=task, database="shop", schema="public", name=evil, kind="table")
    page = level(anna, task, "shop", "public")
    assertNotContains(page, "<script>alert")
    post(anna, "mode", task, "mode", path=["shop", "public", evil], mode="structure")
    assert selection(task).mode("shop", "public", evil) == "structure"


def test_the_selection_of_a_started_task_names_its_databases_by_pattern_too(task: MigrationTask) -> None:
    user = factories.user()
    services.set_matching(task_id=task.pk, actor=user, scope=("shop",), pattern="app_*", mode="data")
    task.refresh_from_db()
    assert [plan.source_name for plan in services.planned_databases(task)] == ["shop"]


def test_a_parent_of_a_parent_that_is_a_partition_is_listed_as_its_table(task: MigrationTask) -> None:
    def add(name: str, *parents: str) -> None:
        SourceObject.objects.create(
            task=task,
            database="shop",
            schema="public",
            name=name,
            kind="table",
            fk_parents=[["public", parent] for parent in parents],
        )

    add("visit", "visit_day")
    add("visit_day", "events_01")
    task = services.set_selected(task_id=task.pk, actor=None, path=("shop", "public", "visit"), selected=True)
    needed = selectors.closure(task)
    assert [table.path[2] for table in needed.tables] == ["events", "visit_day"]
    assert not needed.blocked
    assert services.include_parents(task_id=task.pk, actor=None) == 2
