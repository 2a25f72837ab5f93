"""Texts of the engine as rows keep them."""

from __future__ import annotations

from typing import Any

from ..engine.ports import TableDifference
from ..engine.wording import as_data, changed, how


def words_of(item: TableDifference) -> dict[str, Any]:
    """Return what the texts of a difference were made from."""
    words = as_data(name=item.name, reason=item.reason)
    return words | {"sample_keys": [how(key) for key in item.sample_keys]} if item.sample_keys else words


def storable(data: dict[str, Any]) -> dict[str, Any]:
    """Return the data of texts without the character that no database keeps."""
    return {name: changed(one, lambda text: text.replace("\0", "")) for name, one in data.items()}
