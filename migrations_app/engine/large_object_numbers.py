"""The numbers of large objects, of which there may be very many: read in portions, and kept in the ledger as runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise

from .connect import Connection
from .outcome import Run
from .plan import Side
from .ports import Kind, LedgerItem
from .values import frozen

HIGHEST = (1 << 32) - 1
WINDOW = 10_000
"""Numbers of one server that are held in memory at once."""
_NUMBERS = (
    "SELECT oid::bigint FROM pg_catalog.pg_largeobject_metadata"
    " WHERE oid > %s::bigint::oid AND oid <= %s::bigint::oid ORDER BY oid LIMIT %s"
)
_BOUNDS = (
    "SELECT o FROM (SELECT oid::bigint AS o, pg_catalog.row_number() OVER (ORDER BY oid) AS n"
    " FROM pg_catalog.pg_largeobject_metadata) numbered WHERE n %% %s = 0 ORDER BY o"
)
_COUNT = "SELECT count(*) FROM pg_catalog.pg_largeobject_metadata"


@frozen
class Span:
    """Large objects with numbers above `after`, up to `last`."""

    after: int = 0
    last: int = HIGHEST


@frozen
class Window:
    """The numbers that two servers have in a span, so few that they can be held in memory."""

    there: Sequence[int]
    """Of the source, in order."""
    here: frozenset[int]
    """Of the target."""
    span: Span


def windows(source: Connection, target: Connection, span: Span, check: Callable[[], None]) -> Iterator[Window]:
    """Yield the numbers of both servers in a span, portion by portion, in order. `check` is called between them."""
    while span.after < span.last:
        check()
        window = first_window(source, target, span)
        yield window
        span = replace(span, after=window.span.last)


def first_window(source: Connection, target: Connection, span: Span) -> Window:
    """Return the first portion of the numbers of both servers in a span; it ends where the window's span ends."""
    there, here = (_numbers(one, span.after, span.last) for one in (source, target))
    until = min((one[-1] for one in (there, here) if len(one) == WINDOW), default=span.last)
    return Window(
        there=[number for number in there if number <= until],
        here=frozenset(number for number in here if number <= until),
        span=replace(span, last=until),
    )


def _numbers(connection: Connection, after: int, last: int) -> list[int]:
    return [int(str(row[0])) for row in connection.execute(_NUMBERS, (after, last, WINDOW)).fetchall()]


def how_many(connection: Connection) -> int:
    """Return how many large objects the connected database has."""
    row = connection.execute(_COUNT).fetchone()
    return int(str(row[0])) if row else 0


def divided(connection: Connection, number: int, parts: int) -> list[Span]:
    """Return spans that cover all numbers; `number` large objects lie in as many of them as `parts` says, alike."""
    rows = connection.execute(_BOUNDS, (max(1, -(-number // parts)),)).fetchall() if parts > 1 else []
    bounds = [0, *(int(str(row[0])) for row in rows)][:parts]
    return [Span(after=after, last=last) for after, last in pairwise([*bounds, HIGHEST])]


class Ours:
    """The numbers that the ledger lists as ours on a target database. They are spelled out only where somebody looks.

    The ledger is read at the first look. Several may be in use at the same time, each for a span of its own.
    """

    def __init__(self, run: Run, target_database: str) -> None:
        self._run, self._database = run, target_database

    @cached_property
    def _items(self) -> list[tuple[tuple[int, int], LedgerItem]]:
        return [(_ends(item), item) for item in items_of(self._run, self._database)]

    def within(self, span: Span) -> set[int]:
        """Return those of a span."""
        found: set[int] = set()
        for (first, last), item in self._items:
            if first <= span.last and last > span.after:
                found.update(number for number in numbers_of(item) if span.after < number <= span.last)
        return found

    def claim(self, numbers: Iterable[int]) -> None:
        """Write into the ledger that these are about to be made by us; none of them is ours yet."""
        told = _told(numbers)
        if told:
            first, last = told.split()[0].partition("-")[0], told.split()[-1].rpartition("-")[2]
            self._run.ports.ledger.intend(
                LedgerItem(
                    side=Side.TARGET,
                    database=self._database,
                    kind=Kind.LARGE_OBJECTS,
                    name=f"{first}-{last}",
                    detail={"numbers": told},
                )
            )


def items_of(run: Run, target_database: str) -> list[LedgerItem]:
    """Return what the ledger has about large objects of a target database."""
    return run.ports.ledger.items(Side.TARGET, target_database, {Kind.LARGE_OBJECTS})


def numbers_of(item: LedgerItem) -> Iterator[int]:
    """Yield the numbers that an item of the ledger is about."""
    if "oids" in item.detail:  # as tasks have written them that began before runs were written
        yield from item.detail["oids"]
        return
    for run in item.detail["numbers"].split():
        first, _, last = run.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _ends(item: LedgerItem) -> tuple[int, int]:
    first, _, last = item.name.partition("-")
    return int(first), int(last)


def _told(numbers: Iterable[int]) -> str:
    """Return numbers as text, in order: those that follow each other as first-last."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return " ".join(f"{first}-{last}" if first < last else str(first) for first, last in runs)


def batches(items: Sequence[int], size: int) -> Iterator[list[int]]:
    """Yield the items in lists of `size`."""
    for at in range(0, len(items), size):
        yield list(items[at : at + size])
