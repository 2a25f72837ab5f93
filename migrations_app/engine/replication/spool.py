"""The spool: changes that were received and could not be applied yet, in files of the worker's disk.

The target's bookmark stays the truth about what was applied. The spool holds what lies between it and the position that
was confirmed to the source, which has forgotten that. A file is begun anew by whoever receives, never appended to after
a crash, and counts up to the end of a transaction: what stands behind that comes from the source once more.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import SlotLost
from ..failpoints import durable
from ..lsn import format_lsn
from ..wording import say
from . import spool_form
from .spool_form import Frame, Origin

FILE_BYTES = 64 << 20
"""A file that has so much is followed by another one, so that what was applied can go."""


class Limits(NamedTuple):
    """How much of the disk a spool may take: bytes of its own, and bytes that have to stay free for everybody."""

    most_bytes: int
    free_bytes: int


class File:
    """One file of a spool. `size`: how much of it is right; `ends`: everything up to there is in it or before it."""

    def __init__(self, path: Path, begins: int) -> None:
        self.path = path
        self.begins = self.ends = begins
        self.size = 0


class Spool:
    """The spool of one database of a task, in a folder of its own. One thread writes, another may read."""

    def __init__(self, folder: Path, *, slot: str, system_id: str, limits: Limits) -> None:
        self.folder = folder
        self._slot, self._system_id, self._limits = slot, system_id, limits
        self._lock = threading.Lock()
        self._files: list[File] = []
        self._handle: int | None = None
        self._chain = self._number = 0
        self._given: tuple[Path, int] | None = None  # the file that is being read, and how far
        self.reached = 0
        """Up to where everything was ever written, whether it is here or applied already."""
        self.grown = threading.Condition()
        """Told when something was written, and when nothing more will be."""

    # What is there

    def recover(self, check: Callable[[], None] = lambda: None) -> None:
        """Read the files of earlier workers; what is not a right and whole transaction counts as not there.

        Files that do not reach to the one after them are passed by, whoever damaged them. What counts is durable then.
        Raises OSError, and what `check` raises, which is called all the time: there may be very much to read.
        """
        found: list[File] = []
        bound = (1 << 64) - 1
        paths = sorted(self.folder.glob("*.spool"), reverse=True)
        self._number = max((int(path.stem.rpartition("-")[2]) for path in paths), default=0)
        for path in paths:
            file = self._recovered(path, bound, check)
            if file is None or (found and file.ends < found[-1].begins) or file.begins > bound:
                continue
            bound = min(bound, file.begins)
            found.append(file)
        if found:
            _sync_folder(self.folder)
        self._files = found[::-1]
        self.reached = self.ends or 0

    def _recovered(self, path: Path, bound: int, check: Callable[[], None]) -> File | None:
        """Read one file up to a position that a later one begins with; None when nothing of it counts.

        A worker that was taken for dead may still write to it: nothing behind that position is ours.
        """
        with path.open("rb") as source:
            size = os.fstat(source.fileno()).st_size

            def read(at: int, length: int) -> bytes:
                source.seek(at)
                return source.read(length)

            begun = spool_form.unpack_origin(read, size)
            if begun is None or (begun[0].slot, begun[0].system_id) != (self._slot, self._system_id):
                return None
            file = File(path, begun[0].begins)
            frame: Frame | None = begun[1]
            while frame is not None and frame.lsn <= bound:
                check()
                if frame.lsn:
                    file.size, file.ends = frame.end, frame.lsn
                frame = spool_form.unpack(read, frame.end, size, frame.chain)
            os.fsync(source.fileno())
        return file

    @property
    def begins(self) -> int | None:
        """The position from which on everything is here, None when nothing is."""
        return self._files[0].begins if self._files else None

    @property
    def ends(self) -> int | None:
        """Everything that committed before it has been written, None when nothing has."""
        return self._files[-1].ends if self._files else None

    @property
    def size(self) -> int:
        """Bytes that nobody has taken yet to apply them."""
        with self._lock:
            path, at = self._given or (None, 0)
            later = [file for file in self._files if path is None or file.path > path]
            here = [file.size - at for file in self._files if file.path == path]
            return sum(file.size for file in later) + sum(here)

    @property
    def empty(self) -> bool:
        """Whether there is no file at all."""
        return not self._files

    def has_room(self, more: int) -> bool:
        """Say whether so many more bytes may be written."""
        with self._lock:
            used = sum(file.size for file in self._files)
        home = next(place for place in (self.folder, *self.folder.parents) if place.exists())
        return used + more <= self._limits.most_bytes and shutil.disk_usage(home).free - more >= self._limits.free_bytes

    # Writing

    @durable("spool.file")
    def begin(self, begins: int, epoch: int, relations: bytes = b"") -> None:
        """Begin a file at a position. `relations`: messages that describe the tables of what follows.

        Raises OSError.
        """
        self._end_file()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            self._number += 1  # never one that was used: the names are the order, also when the first files have gone
            path = self.folder / f"{epoch:012d}-{self._number:08d}.spool"
            try:
                self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                break
            except FileExistsError:
                continue
        head, self._chain = spool_form.pack_origin(Origin(slot=self._slot, system_id=self._system_id, begins=begins))
        file = File(path, begins)
        self._write_all(head)
        file.size = len(head)
        with self._lock:
            if self._files and self._files[-1].ends < begins:
                self._files.clear()  # nothing leads from them to here: of use only when all of it is applied already
            self._files.append(file)
        self.reached = max(self.reached, begins)
        if relations:
            self.write(relations, begins)
        os.fsync(self._handle)
        _sync_folder(self.folder)

    def write(self, payload: bytes, lsn: int) -> None:
        """Append whole messages. `lsn`: what committed before it is complete with them, 0 within a transaction.

        Raises OSError; what was written in part is cut off by the next `recover`.
        """
        head, chain = spool_form.pack(payload, lsn, self._chain)
        self._write_all(head + payload)
        self._chain = chain
        file = self._files[-1]
        file.size += len(head) + len(payload)
        if lsn:
            file.ends = self.reached = lsn
        with self.grown:
            self.grown.notify_all()

    def _write_all(self, data: bytes) -> None:
        assert self._handle is not None  # noqa: S101 - for the type checker
        view = memoryview(data)
        while view:
            view = view[os.write(self._handle, view) :]

    @property
    def wants_another_file(self) -> bool:
        """Whether the file is so large, or all of it taken and worth the room, that another one has to follow."""
        size = self._files[-1].size if self._files else 0
        return size >= FILE_BYTES or (size >= FILE_BYTES >> 6 and not self.size)

    @durable("spool.sync")
    def sync(self) -> int:
        """Make everything written durable; return up to where that is complete. Raises OSError."""
        ends = self._files[-1].ends
        if self._handle is not None:
            os.fdatasync(self._handle)
        return ends

    def _end_file(self) -> None:
        if self._handle is not None:
            os.fsync(self._handle)
            handle, self._handle = self._handle, None
            os.close(handle)

    # Afterwards

    def applied(self, position: int) -> None:
        """Take note that everything before `position` is on the target for good; files that hold nothing else go."""
        with self._lock:
            while self._files and self._files[0].ends <= position and (len(self._files) > 1 or self._handle is None):
                with durable("spool.remove"):
                    self._files.pop(0).path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file that is being written: it may go as soon as it is applied. Idempotent."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            os.close(handle)

    @durable("spool.remove")
    def remove(self) -> None:
        """Remove the folder with everything in it. Idempotent."""
        self.close()
        with self._lock:
            self._files.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Reading

    def read(self) -> Iterator[Frame | None]:
        """Yield all frames in order, None whenever there is nothing more at the moment. Endless.

        Raises SlotLost when a frame is not any more what it was.
        """
        file = None
        while True:
            with self._lock:
                file = self._after(file)
            if file is None:
                yield None
                continue
            yield from self._frames(file)

    def _after(self, file: File | None) -> File | None:
        if file is None:
            return self._files[0] if self._files else None
        later = [one for one in self._files if one.path > file.path]
        return later[0] if later else None

    def _frames(self, file: File) -> Iterator[Frame | None]:
        with file.path.open("rb") as source:

            def read(at: int, length: int) -> bytes:
                source.seek(at)
                return source.read(length)

            begun = spool_form.unpack_origin(read, file.size)
            if begun is None:
                raise gone(file.begins, file.ends, self.folder)
            frame = begun[1]
            self._given = (file.path, frame.end)
            while True:
                if frame.end >= file.size:
                    if self._is_last(file):
                        yield None
                        continue
                    if frame.end >= file.size:  # it may have grown before another one was begun
                        return
                following = spool_form.unpack(read, frame.end, file.size, frame.chain)
                if following is None:
                    raise gone(file.begins, file.ends, self.folder)
                frame = following
                self._given = (file.path, frame.end)
                yield frame

    def _is_last(self, file: File) -> bool:
        with self._lock:
            return not self._files or self._files[-1] is file or self._files[-1].path <= file.path


def gone(position: int, until: int, folder: Path, host: str = "") -> SlotLost:
    """Return the error for changes that were in the spool, of this or another `host`, and cannot be read from there."""
    where = say("{folder} on {host}", folder=str(folder), host=host) if host else str(folder)
    return SlotLost(
        say(
            "Changes of the source between {position} and {until} were kept in the spool alone, in {where}, and are "
            "not there any more.",
            position=format_lsn(position),
            until=format_lsn(until),
            where=where,
        ),
        hint=say("Put the files back and press Retry, or press Restart with new copy: the source has forgotten them."),
        code="SPOOL-GONE",
    )


def _sync_folder(folder: Path) -> None:
    for place in (folder, folder.parent, folder.parent.parent):
        handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
