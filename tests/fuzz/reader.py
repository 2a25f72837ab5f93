"""One reader under atheris: `python -m tests.fuzz.reader NAME CORPUS [libFuzzer's options]`."""

from __future__ import annotations

import contextlib
import sys

import atheris

with atheris.instrument_imports():
    from migrations_app.engine.replication import pgoutput, test_decoding, tuples

_TYPES = (23, 25, 1700, 16, 20, 17, 2950)


def _columns(count: int) -> tuple[pgoutput.RelationColumn, ...]:
    return tuple(pgoutput.RelationColumn(f"c{at}", at % 3 == 0, _TYPES[at % len(_TYPES)], -1) for at in range(count))


def read_test_decoding(data: bytes) -> None:
    """Text of a server before 10, in an encoding where every byte is a character and in one where not."""
    for encoding in ("latin-1", "utf-8"):
        with contextlib.suppress(test_decoding.MalformedMessage):
            test_decoding.read(data, 0, encoding)


def read_pgoutput(data: bytes) -> None:
    """Messages as the row path reads them, in both forms of values."""
    for binary in (False, True):
        with contextlib.suppress(pgoutput.MalformedMessage):
            pgoutput.decode(data, 0, "utf-8", binary=binary)


def read_tuples(data: bytes) -> None:
    """Rows as the batch path cuts them, of tables with few and many columns."""
    for count in (1, 2, 3, 7, 12):
        relation = pgoutput.Relation(1, "s", "t", "d", _columns(count))
        for binary in (False, True):
            for cut in tuples.cutters(relation, binary=binary):
                with contextlib.suppress(pgoutput.MalformedMessage):
                    cut(data, 0)


READERS = {"test_decoding": read_test_decoding, "pgoutput": read_pgoutput, "tuples": read_tuples}


if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], READERS[sys.argv[1]])
    atheris.Fuzz()
