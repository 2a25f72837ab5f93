"""The raw relay's framing, fed with synthetic streams that are cut at every position."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from migrations_app.engine import patience as patience_module
from migrations_app.engine.endings import Ending, find_error
from migrations_app.engine.errors import CancelRequested, ConnectionLost, EngineError, SourceError
from migrations_app.engine.passage import BUFFER, CHUNK, Passage
from migrations_app.engine.wire import Patience
from tests.fakes import FakeControl

NONCE = b"0123456789abcdef0123456789abcdef"


def frame(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


HEAD = frame(b"H", b"\x00\x00\x01\x00\x00")
READY = frame(b"Z", b"T")


def ending(rows: int, nonce: bytes = NONCE) -> bytes:
    field = b"nonce\x00" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0)
    return b"".join(
        [
            frame(b"c", b""),
            frame(b"C", b"COPY %d\x00" % rows),
            frame(b"T", b"\x00\x01" + field),
            frame(b"D", b"\x00\x01" + struct.pack("!i", len(nonce)) + nonce),
            frame(b"C", b"SELECT 1\x00"),
            READY,
        ]
    )


def error(state: bytes = b"XX001", words: bytes = b"invalid page", detail: bytes = b"") -> bytes:
    return frame(b"E", b"SERROR\x00VERROR\x00C" + state + b"\x00M" + words + b"\x00" + detail + b"\x00")


def buffers() -> tuple[bytearray, bytearray]:
    return bytearray(BUFFER), bytearray(BUFFER)


def run(pieces: list[bytes], *, close: bool = False, control: FakeControl | None = None) -> tuple[bytes, int]:
    """Feed the pieces one by one; return what reached the target and the row count."""
    feed, source = socket.socketpair()
    target, sink = socket.socketpair()
    received = bytearray()

    def collect() -> None:
        while part := sink.recv(65536):
            received.extend(part)

    def send() -> None:
        with contextlib.suppress(OSError):
            for piece in pieces:
                feed.sendall(piece)
            if close:
                feed.shutdown(socket.SHUT_WR)

    with feed, source, target, sink:
        source.setblocking(False)
        target.setblocking(False)
        threads = [threading.Thread(target=collect), threading.Thread(target=send)]
        for thread in threads:
            thread.start()
        patience = Patience((control or FakeControl()).check, seconds=20)
        stream = Passage(source, target, buffers(), patience, lambda count: None)
        try:
            rows = stream.run(Ending(NONCE), "copying a.b")
        finally:
            source.close()
            target.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(10)
        return bytes(received), rows


def test_every_cut_of_a_short_stream_passes_exactly_its_rows() -> None:
    rows = frame(b"d", b"1\tone\n") + frame(b"d", b"2\ttwo\n")
    stream = HEAD + rows + ending(2)
    for cut in range(1, len(stream)):
        assert run([stream[:cut], stream[cut:]]) == (rows, 2), cut


def test_a_long_stream_in_small_pieces_passes_exactly_its_rows() -> None:
    rows = b"".join(frame(b"d", b"%d\t%s\n" % (n, b"x" * (n % 97))) for n in range(3000))
    stream = HEAD + rows + ending(3000)
    size = 1021
    assert run([stream[at : at + size] for at in range(0, len(stream), size)]) == (rows, 3000)


def test_an_empty_table_passes_nothing() -> None:
    assert run([HEAD + ending(0)]) == (b"", 0)


def test_a_row_larger_than_the_buffer_passes() -> None:
    rows = frame(b"d", b"y" * (3 * CHUNK))
    assert run([HEAD + rows + ending(1)]) == (rows, 1)


def _imitations() -> Iterator[bytes]:
    yield ending(7, nonce=b"f" * 32)
    yield error() + READY
    yield READY
    yield b"Z\x00\x00\x00\x05T"


@pytest.mark.parametrize("content", list(_imitations()))
def test_a_row_that_looks_like_the_end_is_a_row(content: bytes) -> None:
    rows = frame(b"d", content)
    pieces = [HEAD + rows, frame(b"d", b"more"), ending(2)]
    assert run([b"".join(pieces)]) == (rows + frame(b"d", b"more"), 2)


def test_status_messages_before_the_rows_and_before_the_end_are_left_out() -> None:
    status = frame(b"S", b"TimeZone\x00UTC\x00")
    stream = status + HEAD + frame(b"d", b"1\n") + ending(1)[: -len(READY)] + status + READY
    assert run([stream]) == (frame(b"d", b"1\n"), 1)


def test_every_cut_of_an_error_in_mid_stream_raises_it_and_sends_none_of_it() -> None:
    rows = frame(b"d", b"1\tone\n") * 3
    stream = HEAD + rows + error(words=b"invalid page in block 7") + READY
    for cut in range(1, len(stream), 3):
        with pytest.raises(SourceError, match="invalid page in block 7") as caught:
            run([stream[:cut], stream[cut:]])
        assert "XX001" in caught.value.message


def test_an_error_instead_of_rows_is_raised_with_its_state() -> None:
    with pytest.raises(EngineError, match="permission denied") as caught:
        run([error(b"42501", b"permission denied for table t") + READY])
    assert not caught.value.retryable


def test_a_terminated_source_is_retryable() -> None:
    stream = HEAD + frame(b"d", b"1\n") + error(b"57P01", b"terminating connection")
    with pytest.raises(ConnectionLost, match="terminating"):
        run([stream], close=True)


def test_a_source_that_closes_without_a_word_is_retryable() -> None:
    with pytest.raises(ConnectionLost):
        run([HEAD + frame(b"d", b"1\n")], close=True)


def test_a_silent_source_is_given_up() -> None:
    patience = Patience(FakeControl().check, lambda: "ClientWrite", seconds=0.2)
    source, feed = socket.socketpair()
    target, sink = socket.socketpair()
    with source, feed, target, sink:
        source.setblocking(False)
        feed.sendall(HEAD)
        stream = Passage(source, target, buffers(), patience, lambda count: None)
        with pytest.raises(ConnectionLost, match="No data"):
            stream.run(Ending(NONCE), "copying a.b")


def test_a_cancelled_run_stops_the_stream() -> None:
    control = FakeControl()
    timer = threading.Timer(0.2, control.cancel)
    timer.start()
    with pytest.raises(CancelRequested):
        run([HEAD + frame(b"d", b"1\n")], control=control)
    timer.join()


def test_activity_keeps_a_quiet_stream_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    words, seconds = iter(range(1000)), iter(range(100_000))
    monkeypatch.setattr(patience_module, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))
    patience = Patience(FakeControl().check, lambda: str(next(words)), seconds=60)
    for _ in range(600):
        patience.waited()


def test_an_error_with_long_details_is_found_in_the_tail() -> None:
    detail = b"D" + b"E" * 900 + b"\x00W" + b"at E\x00"
    fields = find_error(b"row data E" + error(detail=detail) + READY)
    assert fields is not None
    assert fields["C"] == b"XX001"


def test_random_bytes_are_no_error() -> None:
    assert find_error(b"E\x00\x00\x00\x05E" * 100) is None
    assert find_error(b"") is None
