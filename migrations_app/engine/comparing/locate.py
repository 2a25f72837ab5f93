"""Finds the rows that differ, without sorting and without trusting any collation.

Rows fall into buckets by the hash of their key (of the whole row when there is no key). Buckets whose digests differ
are fetched, a few at a time, and merged here, so memory stays bounded however large the table is.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from ..connect import Connection
from ..wording import NOTHING, Sentence, listing, say
from .hashing import Dialect, Shape, Shapes, fetch

SAMPLES = 20
_ROWS_PER_FETCH = 50_000
_PASSES = 8
_KEY_CHARACTERS = 200
_AND = "OPERATOR(pg_catalog.&) "  # somebody else's may fit better where more schemas are searched: see `usual_path`

S = TypeVar("S")
T = TypeVar("T")


@dataclass
class Found:
    """What was found: sample keys in words, and how many rows are missing on the target, extra there, or different."""

    samples: list[str] = field(default_factory=list)
    missing: int = 0
    extra: int = 0
    different: int = 0
    complete: bool = True
    """False when the search ended early: the counts are then a lower bound."""

    def words(self) -> Sentence:
        """Return the counts as a sentence fragment."""
        counts = [
            (self.missing, say("{number} missing on the target", number=self.missing)),
            (self.extra, say("{number} extra on the target", number=self.extra)),
            (self.different, say("{number} different", number=self.different)),
        ]
        told = listing(words for count, words in counts if count)
        if not told:
            return NOTHING
        return told if self.complete else say("at least {told}", told=told)


@dataclass
class _Row:
    count: int
    total: int
    shown: str


def locate(
    source: Connection, target: Connection, shapes: Shapes, dialect: Dialect, rows: int, check: Callable[[], None]
) -> Found:
    """Return the differing keys of a table of about `rows` rows, at most SAMPLES of them.

    `shapes`: the table as the source calls it, and as the target does.

    Each pass reads the table once on both sides. `check` is called between passes. Raises psycopg's errors.
    """
    buckets = _bucket_count(rows)
    before, after = both(
        source, target, shapes, lambda side, shape: _bucket_digests(side, _digests(shape, dialect, buckets))
    )
    differing = sorted(bucket for bucket in before.keys() | after.keys() if before.get(bucket) != after.get(bucket))
    found = Found()
    step = max(1, _ROWS_PER_FETCH * buckets // max(rows, 1))
    for number, start in enumerate(range(0, len(differing), step)):
        if number >= _PASSES or len(found.samples) >= SAMPLES:
            found.complete = False
            break
        check()
        chosen = differing[start : start + step]

        def fetch_rows(side: Connection, shape: Shape, chosen: list[int] = chosen) -> dict[str, _Row]:
            return _rows(side, shape, dialect, buckets, chosen)

        _merge(found, *both(source, target, shapes, fetch_rows))
    return found


def both(
    source: Connection, target: Connection, shapes: tuple[S, S], work: Callable[[Connection, S], T]
) -> tuple[T, T]:
    """Do the same work on both sides at once, with the names of each. The first error wins, after both have ended."""
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(work, target, shapes[1])
        try:
            first = work(source, shapes[0])
        except BaseException:
            other.exception()
            raise
        return first, other.result()


def _bucket_count(rows: int) -> int:
    buckets = 1024
    while buckets < 65536 and rows // buckets > 2000:
        buckets *= 2
    return buckets


def _digests(shape: Shape, dialect: Dialect, buckets: int) -> str:
    return "SELECT (k " + _AND + str(buckets - 1) + ")::int, count(*), sum(h) " + shape.rows(dialect) + " GROUP BY 1"


def _bucket_digests(connection: Connection, statement: str) -> dict[int, tuple[int, int]]:
    return {int(str(b)): (int(str(n)), int(str(total))) for b, n, total in fetch(connection, statement)}


def _rows(connection: Connection, shape: Shape, dialect: Dialect, buckets: int, chosen: list[int]) -> dict[str, _Row]:
    name = "key_text" if shape.key else "h::text"
    wanted = ", ".join(str(bucket) for bucket in chosen)
    statement = "SELECT " + name + ", count(*), sum(h), pg_catalog.min(shown) " + shape.rows(dialect)
    statement += " WHERE (k " + _AND + str(buckets - 1) + ")::int IN (" + wanted + ") GROUP BY 1"
    return {
        str(key): _Row(int(str(count)), int(str(total)), _shown(shape, shown))
        for key, count, total, shown in fetch(connection, statement)
    }


def _shown(shape: Shape, values: object) -> str:
    parts = values if isinstance(values, list) else []
    text = ", ".join(f"{name}={'NULL' if part is None else part}" for name, part in zip(shape.key, parts, strict=False))
    return text if len(text) <= _KEY_CHARACTERS else text[: _KEY_CHARACTERS - 1] + "…"


def _merge(found: Found, before: dict[str, _Row], after: dict[str, _Row]) -> None:
    for key in sorted(before.keys() | after.keys()):
        there, here = before.get(key), after.get(key)
        if there == here:
            continue
        sample = _judge(found, key, there, here)
        if len(found.samples) < SAMPLES:
            found.samples.append(sample)


def _judge(found: Found, key: str, source: _Row | None, target: _Row | None) -> Sentence:
    known = source or target
    shown = known.shown if known else ""
    rows_source, rows_target = source.count if source else 0, target.count if target else 0
    if not shown:  # no key: the same row may stand there many times
        found.missing += max(0, rows_source - rows_target)
        found.extra += max(0, rows_target - rows_source)
        number = int(key) & (2**64 - 1)
        return say(
            "row hash {number}: {source} on the source, {target} on the target",
            number=f"{number:016x}",
            source=rows_source,
            target=rows_target,
        )
    if target is None:
        found.missing += rows_source
        return say("{key} (missing on the target)", key=shown)
    if source is None:
        found.extra += rows_target
        return say("{key} (extra on the target)", key=shown)
    found.different += 1
    if rows_source != rows_target:
        return say("{key} (different, {number} times on the target)", key=shown, number=rows_target)
    return say("{key} (different)", key=shown)
