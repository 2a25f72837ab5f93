"""What an inventory file says, and what is wrong in it."""

from __future__ import annotations

from dataclasses import field
from typing import NamedTuple

from ..engine.values import frozen
from ..engine.wording import Sentence
from ..models import Resource


class Problem(NamedTuple):
    """Something wrong at a line, counted from 1."""

    line: int
    text: Sentence

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"


class InventoryError(Exception):
    """The file is refused whole; `problems` says why, line by line."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems[:20]))
        self.problems = sorted(problems)


@frozen
class Entry:
    """One thing of the file, with the line on which it begins."""

    line: int
    kind: str
    external_id: str
    region: str = ""
    name: str = ""
    vpc_id: str = ""
    subnet_id: str = ""
    gateway_id: str = ""
    address: str = ""
    port: int | None = None
    attrs: dict[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What its kind is called."""
        return str(dict(Resource.KINDS)[self.kind])


@frozen
class Reading:
    """What a file says. With `problems`, `entries` hold only what could be read, and nothing of them is to be used.

    `doubtful`: the ids of what is wrong; who refers to one of these is not to blame for that.
    """

    entries: list[Entry]
    problems: list[Problem]
    doubtful: frozenset[str] = frozenset()
