"""Named catalog queries: each file can be pasted into psql."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import LiteralString


@cache
def query(name: str) -> LiteralString:
    """Return the text of `name`.sql. Raises FileNotFoundError for an unknown name."""
    return resources.files(__name__).joinpath(f"{name}.sql").read_text()
