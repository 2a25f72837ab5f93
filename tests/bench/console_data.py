"""Drafts with very many objects for `make bench-console`: their rows, and what is asked of the object tree."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.test import Client
from django.utils import timezone

from tests.bench.load import Page

if TYPE_CHECKING:
    from migrations_app.models import MigrationTask, User


def fill_trees() -> dict[str, str]:
    """Make two drafts: 50,000 tables in one schema, and 2,000 schemas of 25 tables. Returns their ids."""
    from migrations_app.models import MigrationTask, User

    actor = User.objects.create(username="bench", role="operator")
    one, many = draft(actor, "one schema"), draft(actor, "many schemas")
    _objects(one, 1, 50_000)
    _objects(many, 2_000, 25)
    for task in (one, many):
        MigrationTask.objects.filter(pk=task.pk).update(objects_read=uuid.uuid4())
    return {"one": str(one.pk), "many": str(many.pk), "session": _session(actor)}


def draft(actor: User, name: str) -> MigrationTask:
    """Make a draft whose objects have been read, as far as its pages can tell."""
    from migrations_app import services
    from migrations_app.models import ConnectionTest

    side = services.EndpointData(host="db.example", port=5432, account="mover", password="not a real one")
    task = services.create_draft(actor=actor, name=name, scheduled_at=None, incremental=True, source=side, target=side)
    now = timezone.now()
    ConnectionTest.objects.create(
        task=task, side="source", kind="inventory", state="passed", created_at=now, finished_at=now
    )
    return task


def _objects(task: MigrationTask, schemas: int, tables: int) -> None:
    """Each fifth table refers to another one; every tenth has a view beside it."""
    from migrations_app.models import SourceObject
    from tests.bench.rows import multiply, store

    in_shop = {"task": task, "database": "shop"}
    store([SourceObject(**in_shop, kind="database", bytes=schemas * tables * 900_000)])
    schema, table = f"printf('s_%04d', n / {tables})", f"(n % {tables})"
    parent = f'printf(\'[["%s", "app_%05d"]]\', {schema}, {table} - 1)'
    multiply(SourceObject(**in_shop, kind="schema"), schemas, schema="printf('s_%04d', n)")
    multiply(
        SourceObject(**in_shop, kind="table"),
        schemas * tables,
        schema=schema,
        name=f"CASE WHEN {table} % 3 THEN 'app' ELSE 'log' END || printf('_%05d', {table})",
        bytes=f"1000 * (1 + {table} % 977)",
        rows_estimate=table,
        fk_parents=f"CASE WHEN {table} % 5 = 2 THEN {parent} ELSE '[]' END",
        needs=f'printf(\'[["sequence", "%s", "t_%d_id_seq"]]\', {schema}, {table})',
    )
    views = max(1, tables // 10)
    multiply(
        SourceObject(**in_shop, kind="view"),
        schemas * views,
        schema=f"printf('s_%04d', n / {views})",
        name=f"printf('v_%05d', n % {views})",
    )


def _session(user: User) -> str:
    client = Client(SERVER_NAME="127.0.0.1")
    client.get("/healthz")  # loads the middleware that notes when a session begins
    client.force_login(user)
    return client.cookies["sessionid"].value


def pages_of_trees(ids: dict[str, str]) -> Iterator[Page]:
    """The object tree: first paint, expansions, searches, toggles, and what a selection with gaps needs."""
    for name, key, schema in (("50,000 tables in a schema", "one", "s_0000"), ("2,000 schemas", "many", "s_1000")):
        base, label = f"/tasks/{ids[key]}/objects/", f"tree, {name}: "
        whole = Page("whole instance", f"{base}toggle/", lambda _: _pick(True))
        gaps = Page("gaps", f"{base}matching/", lambda _: _matching("app_*", ""))
        yield Page(f"{label}first paint", base, first=(whole,))
        yield Page(f"{label}database opened", f"{base}level/?path=shop")
        yield Page(f"{label}schema opened", f"{base}level/?path=shop&path={schema}")
        yield Page(f"{label}last page", f"{base}level/?path=shop&path={schema}&page=999")
        for search in ("app_", "app_1*", "/^log_[0-9]+5$/"):
            yield Page(f"{label}search {search}", f"{base}level/?" + urlencode({"q": search}))
        yield Page(f"{label}toggle a table", f"{base}toggle/", _toggle("shop", schema, "app_00001"))
        yield Page(f"{label}toggle a schema", f"{base}toggle/", _toggle("shop", schema))
        yield Page(f"{label}toggle by pattern", f"{base}matching/", _patterns, first=(whole,))
        yield Page(f"{label}toggle beside a pattern", f"{base}toggle/", _toggle("shop", schema, "log_00003"))
        yield Page(f"{label}first paint with gaps", base, first=(whole, gaps))
        yield Page(f"{label}what the gaps need", f"{base}needs/")


def _pick(selected: bool, *path: str) -> dict[str, str]:
    return {"pick": json.dumps({"path": path, "selected": selected})}


def _toggle(*path: str) -> Callable[[int], dict[str, str]]:
    return lambda number: _pick(bool(number % 2), *path)


def _matching(pattern: str, mode: str) -> dict[str, str]:
    return {"matching": json.dumps({"path": [], "q": pattern, "mode": mode})}


def _patterns(number: int) -> dict[str, str]:
    return _matching(f"app_000{number % 2}*", ["", "data", "structure"][number % 3])
