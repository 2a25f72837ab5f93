"""The pieces in which SSH's bytes come and go: nothing is lost, held back or put in another order."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from migrations_app.engine.ssh_wire import Wire


class _Ssh(asyncio.Protocol):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)


def _complete(loop: asyncio.AbstractEventLoop, wanted: Coroutine[Any, Any, Any]) -> Any:
    """Run the loop in a thread of its own: in this one another test may have left a browser's loop running."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(loop.run_until_complete, wanted).result(30)


@contextmanager
def _wired() -> Iterator[tuple[asyncio.AbstractEventLoop, Wire, _Ssh, socket.socket]]:
    loop, ssh = asyncio.new_event_loop(), _Ssh()
    here, there = socket.socketpair()
    there.settimeout(10)
    wire = Wire(ssh, loop)
    transport, _ = _complete(loop, loop.create_connection(lambda: wire, sock=here))
    try:
        yield loop, wire, ssh, there
    finally:
        transport.abort()
        _complete(loop, asyncio.sleep(0))
        there.close()
        loop.close()


def _read(wire: Wire, data: bytes) -> None:
    """Let the wire have this as one read."""
    buffer = wire.get_buffer(-1)
    buffer[: len(data)] = data
    wire.buffer_updated(len(data))


def _packet(size: int) -> bytes:
    return size.to_bytes(4, "big") + os.urandom(size + 16)


@pytest.mark.parametrize("seed", range(20))
def test_every_byte_is_passed_on_at_once_however_reads_cut_the_packets(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - nothing secret
    sizes = [dice.choice([16, 32, 48, 32784, 131088]) for _ in range(30)]
    stream = b"".join(_packet(size) for size in sizes)
    with _wired() as (_loop, wire, ssh, _there):
        wire.start_cutting()
        at = 0
        while at < len(stream):
            count = dice.choice([1, 2, 3, 5, 100, 65483, 1 << 18])
            _read(wire, stream[at : at + count])
            at += count
            assert sum(map(len, ssh.pieces)) == min(at, len(stream))
        assert b"".join(ssh.pieces) == stream


def test_a_full_read_is_cut_where_its_packets_end() -> None:
    packets = [_packet(32784) for _ in range(7)]
    stream = b"".join(packets)
    with _wired() as (_loop, wire, ssh, _there):
        wire.start_cutting()
        _read(wire, stream[: 2 * len(packets[0]) + 2])  # the third one's length is torn apart
        _read(wire, stream[2 * len(packets[0]) + 2 :])
        ends = [sum(map(len, ssh.pieces[: n + 1])) for n in range(len(ssh.pieces))]
        assert {n * len(packets[0]) for n in range(1, 8)} <= set(ends)


def test_small_packets_are_not_passed_on_one_by_one() -> None:
    with _wired() as (_loop, wire, ssh, _there):
        wire.start_cutting()
        _read(wire, b"".join(_packet(16) for _ in range(100)))
        assert len(ssh.pieces) == 1


def test_what_does_not_begin_with_a_length_is_passed_on_whole() -> None:
    with _wired() as (_loop, wire, ssh, _there):
        wire.start_cutting()
        noise = b"\xff" + os.urandom(200_000)
        _read(wire, noise)
        _read(wire, noise)
        assert ssh.pieces == [noise, noise]


def test_packets_are_found_again_after_noise() -> None:
    packet = _packet(32784)
    with _wired() as (_loop, wire, ssh, _there):
        wire.start_cutting()
        _read(wire, b"\xff" * 1000)
        _read(wire, packet + packet)
        assert ssh.pieces[1:] == [packet, packet]


def test_nothing_is_cut_before_the_host_has_proved_itself() -> None:
    packets = _packet(32784) + _packet(32784)
    with _wired() as (_loop, wire, ssh, _there):
        _read(wire, packets)
        assert ssh.pieces == [packets]


def test_nothing_is_passed_on_after_the_connection_was_given_up() -> None:
    packet = _packet(32784)
    with _wired() as (_loop, wire, ssh, _there):
        wire.start_cutting()

        def give_up(data: bytes) -> None:
            ssh.pieces.append(data)
            wire.abort()

        ssh.data_received = give_up  # type: ignore[method-assign]
        _read(wire, packet + packet + packet)
        assert ssh.pieces == [packet]


def test_what_is_written_together_goes_out_in_its_order_by_itself() -> None:
    with _wired() as (loop, wire, _ssh, there):
        for word in (b"one ", bytearray(b"two "), memoryview(b"three")):
            wire.write(word)
        _complete(loop, asyncio.sleep(0))
        assert there.recv(100) == b"one two three"
        wire.write(b"four")
        _complete(loop, asyncio.sleep(0))
        assert there.recv(100) == b"four"


@pytest.mark.parametrize("ending", ["close", "abort"])
def test_the_last_words_go_out_before_the_end(ending: str) -> None:
    with _wired() as (loop, wire, _ssh, there):
        wire.write(b"goodbye")
        getattr(wire, ending)()
        _complete(loop, asyncio.sleep(0))
        assert there.recv(100) == b"goodbye"
        assert there.recv(100) == b""
