"""Random schemas and streams of changes, as values that Hypothesis makes small: what an application may do to a source.

A `Stream` holds numbers and words only. `stream_model` turns each operation into the SQL that fits the tables as they
are by then, so that a stream stays one whatever is left out of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

TYPES: dict[str, tuple[str, tuple[str, ...]]] = {
    "int": ("integer", ("1", "NULL", "-5", "2147483647", "0")),
    "text": ("text", ("'x'", "''", "NULL", "E'a\\tb\\\\n\\n''\"{},'", "'ü🐘'", "'NULL'")),
    "numeric": ("numeric", ("1.50", "NULL", "'NaN'", "-0.0001", "1e40")),
    "money": ("numeric(8,2)", ("1.5", "NULL", "999999.99")),
    "time": ("timestamptz", ("'2024-02-29 12:00:00.000001+02'", "NULL", "'infinity'", "'0044-03-15 BC'")),
    "bytes": ("bytea", ("'\\x00ff'", "NULL", "''")),
    "jsonb": ("jsonb", ("'{\"k\": [1, null]}'", "NULL", "'null'", "'\"''\"'")),
    "json": ("json", ('\'{"b": 1,  "b": 2}\'', "NULL", "'[]'")),
    "texts": ("text[]", ('\'{a,NULL,"NULL",""}\'', "NULL", "'{}'", "'[0:1]={x,y}'", "'{{a,b},{c,d}}'")),
    "mood": ("mood", ("'glad'", "NULL", "'so \"so\", \\'")),
    "moods": ("mood[]", ("'{glad,NULL}'", "NULL", "'{}'")),
    "code": ("code", ("'c'", "NULL", "'  c'")),
    "large": ("text", ("repeat('p', 9000)", "NULL", "'short'", "repeat('q', 9000)")),
    "float": ("float8", ("0.1", "NULL", "'NaN'", "'-0'", "1e-300")),
    "short": ("varchar(9)", ("'v'", "NULL", "'nine long'")),
    "range": ("int4range", ("'[1,5)'", "NULL", "'empty'", "'(,)'")),
    "bits": ("bit(3)", ("'101'", "NULL")),
    "padded": ("char(5)", ("'ab'", "NULL", "''")),
    "span": ("interval", ("'1 mon -2 days 03:04:05.6'", "NULL", "'-1 year'")),
    "point": ("point", ("'(1,2)'", "NULL")),
}
# By what rows are told apart: the columns that are always there, then what makes the table.
PARTED = ("parts", "loose")  # by their n; new partitions of those without a key are no part of the stream
KINDS: dict[str, tuple[tuple[str, ...], str]] = {
    "key": (("id",), "id int PRIMARY KEY"),
    "pair": (("a", "b"), "a numeric, b text, PRIMARY KEY (a, b)"),
    "index": (("id",), "id int NOT NULL CONSTRAINT {name}_told UNIQUE"),
    "full": (("id",), "id int"),
    "key and full": (("id",), "id int PRIMARY KEY"),
    "none": (("id",), "id int"),
    "parts": (("id", "n"), "id int, n int, PRIMARY KEY (id, n)"),
    "loose": (("id", "n"), "id int, n int"),
    "child": (
        ("id", "up"),
        "id int PRIMARY KEY, up int REFERENCES {first} ON DELETE CASCADE ON UPDATE CASCADE DEFERRABLE",
    ),
    "slug": (("id", "slug"), "id int PRIMARY KEY, slug text UNIQUE"),
    "late": (("id", "slug"), "id int PRIMARY KEY, slug text UNIQUE DEFERRABLE INITIALLY DEFERRED"),
    "made": (
        ("n",),
        "id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED",
    ),
}


@dataclass(frozen=True)
class Shape:
    """A table to begin with: its kind, and further columns by their type."""

    kind: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Op:
    """One operation. The numbers choose table, row and value of those that there are when it is turned to SQL."""

    what: str
    table: int = 0
    a: int = 0
    b: int = 0


@dataclass(frozen=True)
class Block:
    """Operations behind a savepoint, which is rolled back or released."""

    ops: tuple[Op, ...]
    back: bool


@dataclass(frozen=True)
class Work:
    """A transaction of the application."""

    ops: tuple[Op | Block, ...]
    back: bool = False


@dataclass(frozen=True)
class Follow:
    """The target follows up to here: undisturbed, or with a fault at the moment `at`."""

    fault: str = ""
    side: str = "target"
    at: int = 0


@dataclass(frozen=True)
class Stream:
    """Tables, what happens to them, and what the operator prefers where the sync stops and asks."""

    shapes: tuple[Shape, ...]
    steps: tuple[Work | Follow, ...]
    text_only: bool = False
    """Values travel as text, not in binary form."""
    additions: bool = False
    """What is only added is followed without a question."""
    copy_again: bool = False
    """Tables are copied again where a statement is offered as well."""
    small: bool = False
    """Batches are so small that they end within transactions too."""
    ignore: bool = False
    """New tables are ignored, not added."""

    @property
    def options(self) -> list[str]:
        """Return the words of what is chosen."""
        chosen = {"text": self.text_only, "additions": self.additions, "copy-again": self.copy_again}
        chosen |= {"small": self.small, "ignore": self.ignore}
        return [word for word, wanted in chosen.items() if wanted]


ROWS = (
    "insert", "update", "delete", "fill", "rekey", "shift", "swap", "one", "touch", "all", "truncate", "leaf", "upsert",
    "load",
)  # fmt: skip
COLUMNS = ("add", "add filled", "drop", "rename", "widen")
SHAPES = (*COLUMNS, "otherwise", "identity", "label", "rename table", "new table")
PARTITIONS = ("partition", "attach", "attach table", "detach", "drop partition")
FAULTS = ("", "renew", "kill", "cut", "doubt", "stop", "die")

_small = st.integers(0, 7)


def _ops(words: tuple[str, ...]) -> st.SearchStrategy[Op]:
    return st.builds(Op, st.sampled_from(words), table=_small, a=_small, b=_small)


def streams(
    *,
    ddl: bool = True,
    faults: bool = True,
    without: tuple[str, ...] = (),
    kinds: tuple[str, ...] = tuple(KINDS),
    words: tuple[str, ...] = (*SHAPES, *PARTITIONS),
) -> st.SearchStrategy[Stream]:
    """Return what makes streams over tables of `kinds`, `without` columns of some types.

    `words`: the changes of tables that happen, if `ddl` is wanted at all.
    """
    rows, shapes = _ops(ROWS), _ops(words)
    within = st.one_of(rows, rows, rows, shapes) if ddl else rows
    blocks = st.builds(Block, st.lists(within, min_size=1, max_size=4).map(tuple), st.booleans())
    either = [rows, rows, rows, blocks, *([shapes] if ddl else [])]
    works = st.builds(Work, st.lists(st.one_of(either), min_size=1, max_size=7).map(tuple), st.integers(0, 9).map(bool))
    works = works.map(lambda work: Work(work.ops, back=not work.back))  # one in ten is rolled back
    columns = st.lists(st.sampled_from([name for name in TYPES if name not in without]), max_size=4).map(tuple)
    followed = st.builds(
        Follow, st.sampled_from(FAULTS if faults else FAULTS[:2]), st.sampled_from(("target", "source")), _small
    )
    return st.builds(
        Stream,
        st.lists(st.builds(Shape, st.sampled_from(kinds), columns), min_size=1, max_size=4).map(tuple),
        st.lists(st.one_of(works, works, followed), min_size=1, max_size=10).map(tuple),
        text_only=st.booleans(),
        additions=st.booleans() if ddl else st.just(False),
        copy_again=st.booleans() if ddl else st.just(False),
        small=st.booleans(),
        ignore=st.booleans() if ddl else st.just(False),
    )
