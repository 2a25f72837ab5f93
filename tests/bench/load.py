"""Clients of the console that ask as fast as they are answered, and what the web server spends on them."""

from __future__ import annotations

import http.client
import os
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from tests.installation import descendants

CSRF = "b" * 32
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Page:
    """One thing to ask for. `body`: fields of a POST, made anew for each request by its number; None = GET.

    `first`: what is asked once before anything is measured, so that the state is the same each time. `file`: something
    to keep and not to look at, made of everything that there is: asked for by one client, three times.
    """

    name: str
    path: str
    body: Callable[[int], dict[str, str]] | None = None
    first: tuple[Page, ...] = ()
    file: bool = False


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What came of asking for one page: each time in milliseconds, how long it all took, and the server's CPU time."""

    times: list[float]
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Answers per second, of all clients together."""
        return len(self.times) / self.seconds

    @property
    def cpu(self) -> float:
        """CPU milliseconds of the web server for one answer: what does not depend on who else uses the machine."""
        return 1000 * self.cpu_seconds / len(self.times)

    @property
    def median(self) -> float:
        """The median of the times."""
        return statistics.median(self.times)

    @property
    def slow(self) -> float:
        """The 95th percentile of the times."""
        return statistics.quantiles(self.times, n=20)[-1]


class Browser:
    """One signed-in client with a connection that stays open."""

    def __init__(self, port: int, session: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.headers = {"Cookie": f"sessionid={session}; csrftoken={CSRF}", "X-CSRFToken": CSRF, "HX-Request": "true"}

    def ask(self, page: Page, number: int) -> float:
        """Return the milliseconds of one answer. Raises ValueError for an answer that is none."""
        started = time.perf_counter()
        if page.body is None:
            self.connection.request("GET", page.path, headers={**self.headers, "HX-Request": "false"})
        else:
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            self.connection.request("POST", page.path, urlencode(page.body(number)), {**self.headers, **form})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status not in (200, 204):  # 204: a poll without news
            raise ValueError(f"answered {answer.status} {answer.headers.get('Location', '')}: {text[:500]!r}")
        return (time.perf_counter() - started) * 1000


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and everything below it have used so far, children that ended included."""
    spent = 0
    for each in (pid, *descendants(pid)):
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        spent += sum(int(ticks) for ticks in fields[11:15])
    return spent / _TICKS


def measure(port: int, server: int, session: str, page: Page, clients: int, requests: int) -> Figures:
    """Let each of `clients` clients ask `requests` times, all at once. `server`: the pid of the web server's parent."""
    times: list[float] = []
    wrong: list[str] = []

    def work(offset: int) -> None:
        try:
            browser = Browser(port, session)
            times.extend([browser.ask(page, offset + number) for number in range(requests)])
        except (ValueError, OSError, http.client.HTTPException) as error:
            wrong.append(f"{page.name}: {error}")

    try:
        for each in page.first:
            Browser(port, session).ask(each, 0)
    except ValueError as error:
        raise SystemExit(f"{page.name}: {error}") from error
    threads = [threading.Thread(target=work, args=(client,), daemon=True) for client in range(clients)]
    started, before = time.perf_counter(), cpu_seconds(server)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise SystemExit(wrong[0])
    return Figures(times=times, seconds=time.perf_counter() - started, cpu_seconds=cpu_seconds(server) - before)
