"""Fills the installation that `make bench-console` measures; runs inside it."""

from __future__ import annotations

import json

from tests.bench.check_pages import fill_checks
from tests.bench.console_data import fill_trees
from tests.bench.list_pages import fill_tasks


def main() -> None:
    """Make all rows and print what the clients need."""
    print(json.dumps({**fill_trees(), **fill_checks(), **fill_tasks()}))
