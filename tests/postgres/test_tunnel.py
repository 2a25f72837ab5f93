"""Bytes through an SSH host, with no PostgreSQL behind it: whole, in few packets, and at the pace of the slower end."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import asyncssh
import pytest

from migrations_app.engine import bastion as bastion_module
from migrations_app.engine import ssh_wire
from migrations_app.engine.bastion import Tunnel
from migrations_app.engine.plan import Server
from tests.bastions import SshHost, ssh_host

_MB = 1 << 20
_STALLED = 1.0
_MOST_ON_THE_WAY = 40 * _MB  # a window of 16 MB, and what sockets hold; nothing of it grows with the amount


@contextmanager
def _carried() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield our end and the server's end of one connection through a tunnel."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with ssh_host(("127.0.0.1", port)) as host:
            ours = _open(host, port)
            far, _ = listener.accept()
            with ours, far:
                yield ours, far


def _open(host: SshHost, port: int) -> socket.socket:
    tunnel = Tunnel(Server(host="127.0.0.1", port=port, user="nobody", bastion=host.bastion()))
    ours, theirs = socket.socketpair()
    tunnel.carry(theirs)
    return ours


def _sum_of(source: socket.socket, size: int) -> str:
    digest, left = hashlib.sha256(), size
    while left:
        data = source.recv(min(left, _MB))
        assert data
        digest.update(data)
        left -= len(data)
    return digest.hexdigest()


@pytest.mark.parametrize("cipher", bastion_module._CIPHERS)
def test_every_byte_arrives_both_ways_at_once_in_each_cipher(cipher: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bastion_module, "_CIPHERS", (cipher,))
    data = os.urandom(4 * _MB + 7)
    expected = hashlib.sha256(data).hexdigest()
    with _carried() as (ours, far):
        for one in (ours, far):
            threading.Thread(target=one.sendall, args=(data,), daemon=True).start()
            one.settimeout(30)
        assert _sum_of(ours, len(data)) == expected
        assert _sum_of(far, len(data)) == expected


def test_no_empty_packet_goes_before_each_other_one(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: Counter[int] = Counter()
    log = asyncssh.SSHServerConnection.log_received_packet

    def count(self: asyncssh.SSHServerConnection, kind: int, *more: object) -> None:
        kinds[kind] += 1
        log(self, kind, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncssh.SSHServerConnection, "log_received_packet", count)
    with _carried() as (ours, far):
        threading.Thread(target=ours.sendall, args=(bytes(_MB),), daemon=True).start()
        far.settimeout(30)
        _sum_of(far, _MB)
    assert kinds[asyncssh.constants.MSG_CHANNEL_OPEN] == 1  # what is looked for is there to be found
    assert kinds[asyncssh.constants.MSG_IGNORE] == 0


def test_the_library_is_not_given_many_packets_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[int] = []
    receive = asyncssh.SSHClientConnection.data_received

    def count(self: asyncssh.SSHClientConnection, data: bytes, *more: object) -> None:
        pieces.append(len(data))
        receive(self, data, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncssh.SSHClientConnection, "data_received", count)
    with _carried() as (ours, far):
        threading.Thread(target=far.sendall, args=(bytes(8 * _MB),), daemon=True).start()
        ours.settimeout(30)
        _sum_of(ours, 8 * _MB)
    packet = bastion_module._PACKET_BYTES
    assert packet // 2 < max(pieces) <= packet + ssh_wire._PIECE_BYTES + 64


@pytest.mark.parametrize("slow", ["here", "there"])
def test_an_end_that_takes_nothing_stops_the_other_one(slow: str) -> None:
    with _carried() as (ours, far):
        source, sink = (far, ours) if slow == "here" else (ours, far)
        source.settimeout(_STALLED)
        sent, block = 0, bytes(_MB)
        try:
            while sent < 3 * _MOST_ON_THE_WAY:
                sent += source.send(block)
        except TimeoutError:
            pass
        assert sent < _MOST_ON_THE_WAY
        sink.settimeout(30)
        assert _sum_of(sink, sent) == hashlib.sha256(bytes(sent)).hexdigest()
        source.settimeout(30)
        source.sendall(b"goes on")
        assert sink.recv(100) == b"goes on"
