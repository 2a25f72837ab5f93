"""Entries of an archive, as far as a test says what is in them."""

from __future__ import annotations

from typing import Any

from migrations_app.engine.toc import Entry


def entry(definition: bytes = b"", kind: str = "TABLE", **more: Any) -> Entry:
    """Return an entry with this SQL; `more` are other fields of it."""
    usual: dict[str, Any] = {"dump_id": 1, "class_oid": 0, "oid": 0, "tag": "x", "section": "pre-data", "drop": b""}
    places: dict[str, Any] = {"schema": "public", "tablespace": "", "access_method": "", "owner": "", "depends_on": ()}
    return Entry(**{**usual, **places, "type": kind, "definition": definition, **more})
