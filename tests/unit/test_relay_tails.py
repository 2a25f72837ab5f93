"""Every tail that a server can send, cut at every byte: rows go over whole, and nothing of what follows them does."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterator

import pytest

from migrations_app.engine import passage
from migrations_app.engine.endings import HOLD, Ending
from migrations_app.engine.errors import ConnectionLost, EngineError
from migrations_app.engine.passage import BUFFER, CHUNK, Passage, TargetSpoke
from migrations_app.engine.wire import Patience
from tests.fakes import FakeControl
from tests.unit.test_relay import HEAD, NONCE, READY, ending, error, frame

STATUS = frame(b"S", b"scram_iterations\x004096\x00")
NOTICE = frame(b"N", b"SINFO\x00VINFO\x00C00000\x00Mby the way E\x00\x00")
NOTIFY = frame(b"A", struct.pack("!i", 7) + b"channel\x00payload\x00")
ROWS = frame(b"d", b"1\tone\n") + frame(b"d", b"2\tEE\x00\x00\x00\x06\n")


class Line(socket.socket):
    """A source that gives its pieces one by one, one piece for each time that it is asked."""

    pieces: list[bytes]

    def recv_into(self, buffer: memoryview, *_: object) -> int:  # type: ignore[override]
        if not self.pieces:
            return 0
        piece = self.pieces.pop(0)
        if len(piece) > len(buffer):
            self.pieces.insert(0, piece[len(buffer) :])
            piece = piece[: len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)


class Sink(socket.socket):
    """A target that takes everything."""

    taken: bytearray

    def send(self, data: memoryview, *_: object) -> int:  # type: ignore[override]
        self.taken += data
        return len(data)


class Wires:
    """A stream between two ends that a test holds. The source's descriptor never shows that more is to come."""

    def __init__(self) -> None:
        pairs = [socket.socketpair() for _ in range(2)]
        self._pairs = pairs
        self.source, self.target = Line(fileno=pairs[0][0].detach()), Sink(fileno=pairs[1][0].detach())
        self.target.taken = bytearray()
        self.taken = self.target.taken

    def __enter__(self) -> Wires:
        return self

    def __exit__(self, *exc: object) -> None:
        for end in (self.source, self.target, self._pairs[0][1], self._pairs[1][1]):
            end.close()

    def stream(self, pieces: list[bytes], *, at_work: bool = False) -> Passage:
        self.source.pieces = list(pieces)
        self.taken.clear()
        buffers = bytearray(BUFFER), bytearray(BUFFER)
        patience = Patience(FakeControl().check)
        return Passage(self.source, self.target, buffers, patience, lambda count: None, lambda: at_work)

    def keep_coming(self) -> None:
        """From now on the source's descriptor shows that there is more, as that of a server does within its rows."""
        self._pairs[0][1].sendall(b"more")

    def run(self, pieces: list[bytes], *, at_work: bool = False) -> int:
        return self.stream(pieces, at_work=at_work).run(Ending(NONCE), "copying a.b")


@pytest.fixture
def wires(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wires]:
    monkeypatch.setattr(passage, "_QUIET_MILLISECONDS", 0)
    monkeypatch.setattr(passage, "_UNKNOWN_MILLISECONDS", 0)
    with Wires() as made:
        yield made


def cuts(stream: bytes) -> Iterator[list[bytes]]:
    """Return the stream in two pieces, cut at every byte, and byte by byte."""
    yield from ([stream[:at], stream[at:]] for at in range(1, len(stream)))
    yield [stream[at : at + 1] for at in range(len(stream))]


def _with_aside(rows: int) -> bytes:
    """Return the end of a stream with messages between all of its parts."""
    parts, rest = [], ending(rows)
    while rest:
        length = 1 + struct.unpack_from("!i", rest, 1)[0]
        parts.append(rest[:length])
        rest = rest[length:]
    return parts[0] + b"".join(
        aside + part for part, aside in zip(parts[1:], [STATUS, NOTICE, NOTIFY] * 2, strict=False)
    )


@pytest.mark.parametrize("end", [ending(2), _with_aside(2)], ids=["plain", "with messages in between"])
def test_a_good_end_passes_the_rows_and_nothing_else(wires: Wires, end: bytes) -> None:
    for pieces in cuts(HEAD + ROWS + end):
        assert wires.run(pieces) == 2
        assert bytes(wires.taken) == ROWS


FAILURES = {
    "an error": error(words=b"bad page"),
    "an error and ready": error(words=b"bad page") + READY,
    "an error, a setting, ready": error(words=b"bad page") + STATUS + READY,
    "an error, a notice, ready": error(words=b"bad page") + NOTICE + NOTIFY + READY,
    "an error with a context of 3 kB": error(words=b"bad page", detail=b"W" + b"E\x00"[:1] * 3000 + b"\x00") + READY,
    "a closing server": error(b"57P01", b"bad page is what it says"),
}


@pytest.mark.parametrize("tail", FAILURES.values(), ids=FAILURES.keys())
def test_a_bad_end_is_told_in_the_servers_words_and_not_sent_on(wires: Wires, tail: bytes) -> None:
    stream = HEAD + ROWS + tail
    for pieces in list(cuts(stream))[:: 1 if len(stream) < 400 else 29]:
        with pytest.raises(EngineError, match="bad page"):
            wires.run(pieces)
        assert ROWS.startswith(bytes(wires.taken))


@pytest.mark.parametrize("size", [HOLD, 5 * HOLD, CHUNK - 100, CHUNK + 3 * HOLD])
def test_an_error_longer_than_what_is_held_back_is_told_too(wires: Wires, size: int) -> None:
    tail = error(words=b"bad page", detail=b"D" + b"x" * size + b"\x00") + READY
    stream = HEAD + ROWS * 50 + tail
    for step in (len(stream), CHUNK, 40_000, 9_999):
        with pytest.raises(EngineError, match="bad page"):
            wires.run([stream[at : at + step] for at in range(0, len(stream), step)])


def test_an_error_that_the_target_meets_first_is_the_sources(wires: Wires) -> None:
    tail = error(words=b"bad page", detail=b"D" + b"x" * (3 * HOLD) + b"\x00") + READY
    stream = wires.stream([HEAD + ROWS + tail[: 3 * HOLD], tail[3 * HOLD :]])
    stream.salvage()  # nothing is there yet, so nothing is found; then as after the target's complaint
    stream = wires.stream([HEAD + ROWS + tail[: 3 * HOLD]])
    with pytest.raises((ConnectionLost, TargetSpoke)):
        stream.run(Ending(NONCE), "copying a.b")
    wires.source.pieces = [tail[3 * HOLD :]]
    wires._pairs[0][1].send(b"more")
    told = stream.salvage()
    assert told is not None
    assert "bad page" in told.message


def test_a_row_may_hold_any_tail(wires: Wires) -> None:
    for content in [*FAILURES.values(), ending(9, nonce=b"f" * 32), READY, STATUS + READY, b"c\x00\x00\x00\x04"]:
        rows = frame(b"d", content) + frame(b"d", b"after")
        border = len(rows) - len(frame(b"d", b"after"))  # who falls silent there looks like a failed server
        for cut in {border, *range(1, len(rows), max(1, len(rows) // 60))}:
            assert wires.run([HEAD + rows[:cut], rows[cut:] + ending(2)], at_work=True) == 2
            assert bytes(wires.taken) == rows


def test_a_stall_behind_a_row_that_looks_like_an_error_is_asked_about_until_somebody_can_tell(wires: Wires) -> None:
    rows = frame(b"d", error() + READY) + frame(b"d", b"after")
    border = len(frame(b"d", error() + READY))
    answers: list[bool | None] = [None, None, True]
    stream = wires.stream([HEAD + rows[:border], rows[border:] + ending(2)])
    stream._at_work = lambda: answers.pop(0)
    assert stream.run(Ending(NONCE), "copying a.b") == 2
    assert bytes(wires.taken) == rows
    assert answers == []


@pytest.mark.parametrize("end", [ending(2), _with_aside(2)], ids=["plain", "with messages in between"])
def test_a_good_end_that_is_cut_off_is_a_lost_connection_and_nothing_of_it_is_sent(wires: Wires, end: bytes) -> None:
    for length in range(len(end)):
        for pieces in ([HEAD + ROWS + end[:length]], [HEAD + ROWS, end[:length]]):
            with pytest.raises(ConnectionLost) as caught:
                wires.run([piece for piece in pieces if piece])
            assert caught.value.retryable
            assert ROWS.startswith(bytes(wires.taken)), length


def test_random_streams_in_random_pieces_arrive_whole(wires: Wires) -> None:
    seed = random.randrange(1 << 32)  # noqa: S311 - a test's dice
    print("seed", seed)
    dice = random.Random(seed)  # noqa: S311 - a test's dice
    wires.keep_coming()  # a row that looks like an error's message, and then silence, would be one
    tricky = [b"Z\x00\x00\x00\x05I", b"E", b"c\x00\x00\x00\x04", NONCE[:16], b"C", STATUS, error()]
    for _ in range(60):
        rows = b""
        for _ in range(dice.randrange(1, 40)):
            parts = [dice.choice([*tricky, dice.randbytes(dice.randrange(300))]) for _ in range(dice.randrange(6))]
            rows += frame(b"d", b"".join(parts) + b"\n")
        stream = HEAD + rows + ending(7)
        pieces = []
        while stream:
            size = dice.choice([1, 5, 6, 100, 4096, 70_000])
            pieces.append(stream[:size])
            stream = stream[size:]
        assert wires.run(pieces) == 7
        assert bytes(wires.taken) == rows
