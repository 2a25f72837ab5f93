"""A TCP proxy that breaks connections on purpose: cut, frozen, slow, cut at an exact place. Repeatable by a seed."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

CHUNK = 65536
_TURN_SECONDS = 0.01
_RESET = struct.pack("ii", 1, 0)


class Way(Enum):
    """The two directions of a connection."""

    TO_SERVER = "to the server"
    TO_CLIENT = "to the client"


class Cut(Enum):
    """How a connection ends."""

    RST = "RST"
    FIN = "FIN"


class When(Enum):
    """Whether the bytes that pull a trigger still pass."""

    BEFORE = "before it passes"
    AFTER = "after it has passed, but before the answer"


@dataclass
class Trigger:
    """Cuts the connection on which it is pulled: by a word, or by the number of bytes of all connections."""

    way: Way = Way.TO_SERVER
    word: bytes = b""
    after_bytes: int = 0
    when: When = When.BEFORE
    how: Cut = Cut.RST
    times: int = 1
    pulled: int = 0
    seen: int = 0

    def touched_by(self, way: Way, tail: bytes, chunk: bytes) -> bool:
        """Say whether this chunk pulls it. `tail` is what came just before."""
        if way is not self.way or self.pulled >= self.times:
            return False
        self.seen += len(chunk)
        hit = self.word in tail + chunk if self.word else self.seen >= self.after_bytes
        self.pulled += hit
        return hit


@dataclass(eq=False)
class _Line:
    client: socket.socket
    server: socket.socket
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    stranded: bool = False

    def end(self, how: Cut) -> None:
        for one in (self.client, self.server):
            with contextlib.suppress(OSError):
                if how is Cut.RST:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                one.close()
        for task in self.tasks:
            task.cancel()


class FaultProxy:
    """Passes connections on to a port of loopback until told otherwise. Use as a context manager.

    Everything may be called from any thread, and the attributes changed at any time: `delay` and `jitter` in
    seconds per chunk, `rate` in bytes per second and direction, `reset_chance` per connection and second. `opened`
    holds the monotonic time of every connection that came in.
    """

    def __init__(self, server_port: int, seed: int = 1) -> None:
        self.server_port, self.seed = server_port, seed
        self.port = 0
        self.delay = self.jitter = self.reset_chance = 0.0
        self.rate = 0
        self.opened: list[float] = []
        self.passed = {Way.TO_SERVER: 0, Way.TO_CLIENT: 0}
        self._held: set[Way] = set()
        self._refusing = False
        self._chance = random.Random(seed)  # noqa: S311 - faults, no secrets
        self._triggers: list[Trigger] = []
        self._lines: set[_Line] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy of {server_port}", daemon=True)
        self._listener: socket.socket | None = None
        self._serving: list[asyncio.Task[None]] = []

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        self._call(self._open())
        return self

    def __exit__(self, *exc: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def hold(self, *ways: Way) -> None:
        """Read and write no more in these directions (both, when none is named), and hang up on nobody."""
        self._held |= set(ways or Way)

    def release(self) -> None:
        """Let everything through again that was held."""
        self._held = set()

    def strand(self) -> None:
        """Lose the connections that are open, so that neither end ever hears of the other; new ones pass.

        What one end does to its socket is not told to the other: so it is behind a router that has been replaced.
        """
        for line in list(self._lines):
            line.stranded = True

    def cut(self, how: Cut = Cut.RST) -> int:
        """End every connection that is open; return how many there were."""
        return int(self._call(self._cut(how)))

    def refuse(self, refusing: bool = True) -> None:
        """Reset every new connection at once, as a port does that nobody listens on; and those that are open."""
        self._refusing = refusing
        if refusing:
            self.cut()

    def trigger(self, **what: Any) -> Trigger:
        """Lay a trigger (see `Trigger`) and return it; `pulled` counts."""
        made = Trigger(**what)
        self._triggers.append(made)
        return made

    def open_lines(self) -> int:
        """Return how many connections pass through now."""
        return len(self._lines)

    def _call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _open(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(128)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._serving = [self._loop.create_task(self._accept()), self._loop.create_task(self._roll())]

    async def _close(self) -> None:
        for task in self._serving:
            task.cancel()
        await self._cut(Cut.FIN)
        await asyncio.gather(*self._serving, return_exceptions=True)
        if self._listener:
            self._listener.close()

    async def _cut(self, how: Cut) -> int:
        lines = list(self._lines)
        for line in lines:
            self._end(line, how)
        await asyncio.gather(*(task for line in lines for task in line.tasks), return_exceptions=True)
        return len(lines)

    def _end(self, line: _Line, how: Cut) -> None:
        self._lines.discard(line)
        line.end(how)

    async def _accept(self) -> None:
        assert self._listener
        while True:
            client, _ = await self._loop.sock_accept(self._listener)
            self.opened.append(time.monotonic())
            server = socket.socket()
            line = _Line(client, server)
            if self._refusing:
                line.end(Cut.RST)
                continue
            client.setblocking(False)
            server.setblocking(False)
            self._lines.add(line)
            line.tasks.append(self._loop.create_task(self._serve(line)))

    async def _serve(self, line: _Line) -> None:
        try:
            await self._free(Way.TO_SERVER, line)
            await self._loop.sock_connect(line.server, ("127.0.0.1", self.server_port))
        except OSError:
            self._end(line, Cut.RST)
            return
        line.tasks += [
            self._loop.create_task(self._pump(line, Way.TO_SERVER, line.client, line.server)),
            self._loop.create_task(self._pump(line, Way.TO_CLIENT, line.server, line.client)),
        ]

    async def _free(self, way: Way, line: _Line) -> None:
        while way in self._held or line.stranded:
            await asyncio.sleep(_TURN_SECONDS)

    async def _pump(self, line: _Line, way: Way, source: socket.socket, sink: socket.socket) -> None:
        tail = b""
        try:
            while chunk := await self._loop.sock_recv(source, self._at_once()):
                await self._free(way, line)
                pulled = next((one for one in self._triggers if one.touched_by(way, tail, chunk)), None)
                tail = chunk[-64:]
                if pulled and pulled.when is When.BEFORE:
                    break
                await self._slowly(len(chunk))
                await self._loop.sock_sendall(sink, chunk)
                self.passed[way] += len(chunk)
                if pulled:
                    self._held.add(Way.TO_CLIENT)
                    await asyncio.sleep(0.2)  # the server answers into the void
                    self._held.discard(Way.TO_CLIENT)
                    break
            else:
                pulled = None
            how = pulled.how if pulled else Cut.FIN
        except OSError:
            how = Cut.RST
        while line.stranded:
            await asyncio.sleep(_TURN_SECONDS)
        self._end(line, how)

    def _at_once(self) -> int:
        if not self.rate:
            return CHUNK
        return max(1, min(CHUNK, self.rate // (2 if self.delay else 20)))

    async def _slowly(self, size: int) -> None:
        pause = self.delay + self._chance.uniform(0, self.jitter) + (size / self.rate if self.rate else 0)
        if pause:
            await asyncio.sleep(pause)

    async def _roll(self) -> None:
        """Roll the dice for each connection once a second."""
        while True:
            await asyncio.sleep(1)
            for line in list(self._lines):
                if self.reset_chance and self._chance.random() < self.reset_chance:
                    self._end(line, Cut.RST)


@contextlib.contextmanager
def fault_proxy(server_port: int, seed: int = 1) -> Iterator[FaultProxy]:
    """Open a proxy in front of a server, and print the seed that repeats it."""
    print(f"proxy before port {server_port}: seed {seed}")
    with FaultProxy(server_port, seed) as proxy:
        yield proxy
