"""How tables of the target are emptied before they are copied."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from migrations_app.engine.table_work import TableWork, emptying

NOBODY = cast(Any, None)


@pytest.mark.parametrize(
    ("silent", "statements"),
    [
        (True, ['DELETE FROM ONLY "public"."parent"', 'TRUNCATE ONLY "public"."alone"']),
        (False, ['TRUNCATE ONLY "public"."parent", ONLY "public"."alone"']),
    ],
)
def test_rows_that_others_refer_to_are_deleted_only_where_foreign_keys_do_not_act(
    silent: bool, statements: list[str]
) -> None:
    table: Any = SimpleNamespace(schema="public", name="")
    works = [
        TableWork(NOBODY, NOBODY, table, None, ours=True, referred=name == "parent", place=("public", name))
        for name in ("parent", "alone")
    ]
    assert emptying(works, silent=silent) == statements


@pytest.mark.parametrize("silent", [True, False])
def test_rows_that_only_keys_which_are_not_enforced_lead_to_are_deleted(silent: bool) -> None:
    table: Any = SimpleNamespace(schema="public", name="")
    work = TableWork(NOBODY, NOBODY, table, None, ours=True, referred=True, unenforced=True, place=("public", "parent"))
    assert emptying([work], silent=silent) == ['DELETE FROM ONLY "public"."parent"']
