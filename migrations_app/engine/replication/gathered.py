"""Gathers the messages of a plugin that tells only at its end where a transaction commits.

What is skipped, and where to stop, depends on that place, so nothing can be given on before it is known. The source
sends a transaction only once it has committed; a large one waits in a file without a name, which goes with the process.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ..errors import EngineError
from ..wording import say
from . import test_decoding
from .test_decoding import MalformedMessage

MEMORY_BYTES = 16 << 20
"""What a transaction may take in memory; the rest goes to a file."""

_SIZE = struct.Struct("!I")


class Gathered:
    """A whole transaction of the source. `end_lsn` is the position to continue from once it is applied."""

    def __init__(self, folder: Path, xid: int) -> None:
        self.xid = xid
        self.end_lsn = 0
        self.timestamp = 0
        self._folder = folder
        self._held: list[bytes] = []
        self._bytes = 0
        self._file: IO[bytes] | None = None

    @property
    def final_lsn(self) -> int:
        """A position inside its commit record: below the end, and not before anything that ended earlier."""
        return self.end_lsn - 1

    def add(self, message: bytes) -> None:
        """Keep a message. Raises EngineError when this machine has no room for it."""
        if self._bytes + len(message) <= MEMORY_BYTES and self._file is None:
            self._held.append(message)
            self._bytes += len(message)
            return
        try:
            if self._file is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed with the transaction
            self._file.write(_SIZE.pack(len(message)))
            self._file.write(message)
        except OSError as error:
            raise EngineError(
                say(
                    "A large transaction of the source could not be kept in {folder}: {reason}.",
                    folder=self._folder,
                    reason=error.strerror or str(error),
                ),
                hint=say("Free disk space on this machine, then retry: nothing of the transaction was applied."),
                code="RUN-DISK",
                retryable=True,
            ) from error

    def messages(self) -> Iterator[bytes]:
        """Yield the messages in order. Once."""
        held, self._held = self._held, []
        yield from held
        if self._file is None:
            return
        self._file.seek(0)
        while head := self._file.read(_SIZE.size):
            yield self._file.read(_SIZE.unpack(head)[0])

    def close(self) -> None:
        """Free what it holds. Idempotent."""
        self._held = []
        if self._file is not None:
            self._file.close()
            self._file = None


class Gathering:
    """Turns the plugin's messages into whole transactions."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: Gathered | None = None

    @property
    def midway(self) -> bool:
        """Say whether a transaction has begun to arrive and is not complete."""
        return self._open is not None

    def take(self, message: bytes, place: int) -> Gathered | None:
        """Take the next message, which the source sent for `place`; return a transaction that it completes.

        Raises MalformedMessage or EngineError.
        """
        if message.startswith(b"table "):
            if self._open is None:
                raise _out_of_place(message)
            self._open.add(message)
            return None
        boundary = test_decoding.read(message)
        if isinstance(boundary, test_decoding.Start):
            if self._open is not None:
                raise _out_of_place(message)
            self._open = Gathered(self._folder, boundary.xid)
        elif isinstance(boundary, test_decoding.End):
            if self._open is None or boundary.xid != self._open.xid or not place:
                raise _out_of_place(message)
            ended, self._open = self._open, None
            ended.end_lsn, ended.timestamp = place, boundary.timestamp or 0
            return ended
        return None  # what somebody emitted changes no table

    def close(self) -> None:
        """Forget a transaction that is not complete. Idempotent."""
        if self._open is not None:
            self._open.close()
            self._open = None


def _out_of_place(message: bytes) -> MalformedMessage:
    return MalformedMessage(
        say("The source sent a change outside of a transaction: {data}", data=f"{message[:24]!r}"),
        hint=say("Retry. If it happens again, start the migration again."),
    )
