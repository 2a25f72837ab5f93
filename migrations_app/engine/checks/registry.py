"""What a check item is, how it is registered, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from enum import StrEnum
from functools import partial
from typing import Any

import psycopg

from ..plan import Side
from ..values import frozen
from ..wording import NOTHING, Sentence


class CheckStatus(StrEnum):
    """The three results of an item. A Failed one makes Start impossible."""

    PASSED = "passed"
    WARNING = "warning"
    FAILED = "failed"


class Group(StrEnum):
    """Headings of the check page, in their order there."""

    CONNECTION = "Connection"
    PRIVILEGES = "Privileges"
    SELECTION = "Selected objects"
    SYNC = "Incremental sync"
    TARGET = "Target"
    CAPACITY = "Capacity"


ASKED = "passwords"
"""Argument of a finding: the roles and user mappings whose passwords are asked for."""
ON_SOURCE = (Side.SOURCE,)
ON_TARGET = (Side.TARGET,)
ON_BOTH = (Side.SOURCE, Side.TARGET)


@frozen
class CheckInfo:
    """An item as the page shows it before it has run."""

    code: str
    title: str
    group: Group
    looks_at: str
    incremental_only: bool = False
    per_database: bool = False
    sides: tuple[Side, ...] = ON_BOTH
    """Servers that it asks; another one that hangs does not hold it up."""
    counts_databases: bool = False
    """Whether it goes by the databases of the task although it is not about one of them."""

    @property
    def restarted(self) -> Side:
        """The server that a finding of this item is about when it needs a restart."""
        return self.sides[-1]


@frozen
class Finding:
    """What an item found, without the item's own name. `fix` names what `checks.fixes` can do about it, or is ''."""

    status: CheckStatus
    found: Sentence
    hint: Sentence = NOTHING
    sql: str = ""
    needs_restart: bool = False
    fix: str = ""
    fix_arguments: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None  # how long the look took, where another one has had the wait
    because: Sentence = NOTHING  # why nobody could look, where a server or a fact cannot be had
    error: psycopg.Error | None = None  # with which the look ended

    def fixed_by(self, fix: str, **arguments: Any) -> Finding:
        """Return this finding with what would mend it; the arguments must survive JSON."""
        return replace(self, fix=fix, fix_arguments=arguments)

    def asks(self, passwords: Iterable[Mapping[str, str]]) -> Finding:
        """Return this finding with the passwords of the target that an operator may give (see `GivenPassword`)."""
        listed = [dict(one) for one in passwords]
        return replace(self, fix_arguments={ASKED: listed}) if listed else self

    def took(self, seconds: float | None) -> Finding:
        """Return this finding with the seconds that it cost; None: those of the item itself."""
        return replace(self, seconds=seconds)


@frozen
class CheckResult:
    """One line of the check page. `sql` is a statement or configuration line to copy, or ''.

    `database` is the source database that the line is about, or '' for the servers as a whole.
    """

    code: str
    title: str
    group: Group
    status: CheckStatus
    found: str
    hint: str = ""
    sql: str = ""
    database: str = ""
    needs_restart: bool = False
    fix: str = ""
    fix_arguments: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None  # how long the look took
    because: str = ""  # why nobody could look: the cause is an item of its own, and many items may share it


def passed(found: Sentence, hint: Sentence = NOTHING) -> Finding:
    """Return a finding that stands in nobody's way; `hint` may still say something worth knowing."""
    return Finding(status=CheckStatus.PASSED, found=found, hint=hint)


def warning(found: Sentence, hint: Sentence, sql: str = "", *, needs_restart: bool = False) -> Finding:
    """Return a finding under which the task may still be started."""
    return Finding(status=CheckStatus.WARNING, found=found, hint=hint, sql=sql, needs_restart=needs_restart)


def failed(found: Sentence, hint: Sentence, sql: str = "", *, needs_restart: bool = False) -> Finding:
    """Return a finding that must be dealt with before Start."""
    return Finding(status=CheckStatus.FAILED, found=found, hint=hint, sql=sql, needs_restart=needs_restart)


@frozen
class Item:
    """A registered item: what it is, and the function that looks."""

    info: CheckInfo
    look: Callable[..., Finding]


ITEMS: dict[str, Item] = {}


def item(
    code: str,
    title: str,
    group: Group,
    looks_at: str,
    *,
    incremental_only: bool = False,
    per_database: bool = False,
    sides: tuple[Side, ...] = ON_BOTH,
    counts_databases: bool = False,
) -> Callable[[Callable[..., Finding]], Callable[..., Finding]]:
    """Register a function as a check item.

    The function gets the Context, and with `per_database` also the DatabasePlan; it then runs once for each database.
    """

    def register(look: Callable[..., Finding]) -> Callable[..., Finding]:
        if code in ITEMS:
            raise ValueError(f"two check items are called {code}")
        info = CheckInfo(
            code=code,
            title=title,
            group=group,
            looks_at=looks_at,
            incremental_only=incremental_only,
            per_database=per_database,
            sides=sides,
            counts_databases=counts_databases,
        )
        ITEMS[code] = Item(info=info, look=look)
        return look

    return register


def twins(
    name: str, group: Group, *, source: tuple[str, str], target: tuple[str, str]
) -> Callable[[Callable[..., Finding]], Callable[..., Finding]]:
    """Register a function as two items, one for each side: `source-name` and `target-name`.

    `source` and `target` are title and what is looked at. The function gets the Context and the Side.
    """

    def register(look: Callable[..., Finding]) -> Callable[..., Finding]:
        for side, (title, looks_at) in ((Side.SOURCE, source), (Side.TARGET, target)):
            item(f"{side}-{name}", title, group, looks_at, sides=(side,))(partial(look, side=side))
        return look

    return register


def all_items() -> list[CheckInfo]:
    """Return every item in the order of the page."""
    order = list(Group)
    return sorted((entry.info for entry in ITEMS.values()), key=lambda info: order.index(info.group))


MOST_STATEMENTS = 10_000
"""Of a finding whose SQL names all that it is about; pages and terminals show the first ones."""


def lines(statements: Iterable[str], limit: int = 50) -> str:
    """Return statements one below the other; beyond `limit` a comment says how many are not shown."""
    known = list(statements)
    more = [f"-- and {len(known) - limit} more"] if len(known) > limit else []
    return "\n".join([*known[:limit], *more])


_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size(number: float) -> str:
    """Return a byte count in powers of 1000, as the console's pages count: 512 B, 3.4 MB."""
    step = 0
    while number >= 999.5 and step < len(_UNITS) - 1:
        number, step = number / 1000, step + 1
    figure = f"{number:.1f}" if step and number < 9.95 else f"{number:.0f}"
    return f"{figure.removesuffix('.0')} {_UNITS[step]}"


def setting_size(number: float) -> str:
    """Return bytes of a server's setting as that server writes them, in powers of 1024: 64 MB, 1.5 GB."""
    step = 0
    while number >= 1024 and step < len(_UNITS) - 1:
        number, step = number / 1024, step + 1
    figure = f"{number:.1f}" if number < 100 else f"{number:.0f}"
    return f"{figure.removesuffix('.0')} {_UNITS[step]}"
