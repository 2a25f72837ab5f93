"""One reader under atheris: `python -m tests.fuzz.reader NAME CORPUS [libFuzzer's options]`."""

from __future__ import annotations

import contextlib
import sys

import atheris

with atheris.instrument_imports():
    from migrations_app.engine import endings, passage
    from migrations_app.engine.replication import pgoutput, test_decoding, tuples

from migrations_app.engine.errors import EngineError
from tests.unit.test_relay import NONCE
from tests.unit.test_relay_tails import Wires

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


WIRES = Wires()
# So short that inputs of some hundred bytes are passed on before they end, and nobody is waited for.
endings.HOLD = passage.HOLD = 256
passage._QUIET_MILLISECONDS = passage._UNKNOWN_MILLISECONDS = 0


def read_relay(data: bytes) -> None:
    """What a source sends for a COPY, in pieces whose size the first byte gives; only its rows are passed on."""
    size, stream = 1 + data[0] if data else 1, data[1:]
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    for at_work in (False, True):
        with contextlib.suppress(EngineError, passage.TargetSpoke):
            WIRES.stream(pieces, at_work=at_work).run(endings.Ending(NONCE), "copying a.b")
        assert bytes(WIRES.taken) in stream


READERS = {"test_decoding": read_test_decoding, "pgoutput": read_pgoutput, "tuples": read_tuples, "relay": read_relay}


if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], READERS[sys.argv[1]])
    atheris.Fuzz()
