"""Between the SSH library and its network socket: what arrives is cut for it, what it sends goes out in fewer writes.

The library takes each packet off the front of all that it was given and copies the rest, so that a full read costs
several copies of everything; and it writes each packet alone. Nothing is decided here: every byte is passed on, in its
order, as soon as it is there. Where the packets begin is a guess by the lengths that AES-GCM leaves readable; where it
is wrong, or another cipher hides them, the pieces are cut elsewhere, which is slower and nothing else.
"""

from __future__ import annotations

import asyncio
from typing import Any

_READ_BYTES = 256 << 10
_PIECE_BYTES = 16 << 10  # smaller packets go together: each piece costs a call
_LENGTH, _TAG, _BLOCK = 4, 16, 16
_MOST_BYTES = 512 << 10  # no packet is longer: it would not be accepted


class Wire(asyncio.BufferedProtocol, asyncio.Transport):
    """The socket's protocol, and to `ssh` its transport. Belongs to one event loop."""

    def __init__(self, ssh: asyncio.Protocol, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._ssh, self._loop = ssh, loop
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._cutting = False
        self._head, self._left = b"", 0  # of the packet that has begun: its first bytes, and how much is to come
        self._unsent: list[bytes] = []

    def start_cutting(self) -> None:
        """Begin to cut. Before the host has proved itself, the library gets what one read has brought in one call.

        After an error in a packet it must not be given the next one.
        """
        self._cutting = True

    # What the socket tells us.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - narrows the type of a stream's transport
        self._socket = transport
        self._ssh.connection_made(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        start = at = 0
        while self._cutting and at < nbytes and not self._socket.is_closing():
            at = self._packet_end(at, nbytes)
            if at - start >= _PIECE_BYTES:
                self._ssh.data_received(bytes(self._buffer[start:at]))
                start = at
        if start < nbytes and not self._socket.is_closing():
            self._ssh.data_received(bytes(self._buffer[start:nbytes]))

    def _packet_end(self, at: int, end: int) -> int:
        """Return where the packet around `at` ends, or what was read if that comes first."""
        if not self._left:
            passed_on = len(self._head)
            self._head += self._buffer[at : min(end, at + _LENGTH - passed_on)]
            if len(self._head) < _LENGTH:
                return end
            length, self._head = int.from_bytes(self._head, "big"), b""
            if length % _BLOCK or not 0 < length < _MOST_BYTES:
                return end  # not where a packet begins: we look again at the start of the next read
            self._left = _LENGTH + length + _TAG - passed_on
        taken = min(self._left, end - at)
        self._left -= taken
        return at + taken

    def eof_received(self) -> bool | None:
        return self._ssh.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ssh.connection_lost(exc)

    def pause_writing(self) -> None:
        self._ssh.pause_writing()

    def resume_writing(self) -> None:
        self._ssh.resume_writing()

    # What the library asks of its transport.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send with all else that is written before the event loop comes round."""
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(bytes(data))

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if unsent:
            self._socket.write(b"".join(unsent))

    def close(self) -> None:
        self._flush()
        self._socket.close()

    def abort(self) -> None:
        self._flush()
        self._socket.abort()

    def is_closing(self) -> bool:
        return self._socket.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._socket.get_extra_info(name, default)
