"""docs/checks.md lists every item as the registry has it, and no fix or code that is not there."""

from __future__ import annotations

import re

from migrations_app.engine.checks import all_items
from migrations_app.engine.checks.moments import BEFORE_COMPLETE, UNREACHABLE
from tests.checks_page import PAGE, with_listing


def test_the_page_lists_the_items_as_they_are() -> None:
    page = PAGE.read_text()
    assert with_listing(page) == page, "run: python -m tests.checks_page"


def test_the_items_that_run_by_themselves_exist_and_need_no_slot_of_their_own() -> None:
    known = {info.code: info for info in all_items()}
    assert known.keys() >= BEFORE_COMPLETE | UNREACHABLE
    assert not any(re.search("slot|sender|conflict", code) for code in BEFORE_COMPLETE)
