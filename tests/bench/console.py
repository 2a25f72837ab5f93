"""`make bench-console`: how long the console's pages take, with eight clients at once on a real web server.

Prints the median and the 95th percentile of each page in milliseconds, alone and under load. Nothing here passes or
fails. A page is one line in `pages_of_*`; its data is made by `console_data`.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from migrations_app.demo.clusters import free_port
from tests.bench.list_pages import pages_of_tasks
from tests.installation import Installation

CSRF = "b" * 32


@dataclass(frozen=True)
class Page:
    """One thing to ask for. `body`: fields of a POST, made anew for each request by its number; None = GET."""

    name: str
    path: str
    body: Callable[[int], dict[str, str]] | None = None


def pages_of_trees(ids: dict[str, str]) -> Iterator[Page]:
    """The object tree: first paint, expansions, searches, toggles."""
    for name, key, schema in (("50,000 tables in a schema", "one", "s_0000"), ("2,000 schemas", "many", "s_1000")):
        base = f"/tasks/{ids[key]}/objects/"
        yield Page(f"tree, {name}: first paint", base)
        yield Page(f"tree, {name}: database opened", f"{base}level/?path=shop")
        yield Page(f"tree, {name}: schema opened", f"{base}level/?path=shop&path={schema}")
        yield Page(f"tree, {name}: last page", f"{base}level/?path=shop&path={schema}&page=999")
        for search in ("app_", "app_1*", "/^log_[0-9]+5$/"):
            yield Page(f"tree, {name}: search {search}", f"{base}level/?" + urlencode({"q": search}))
        yield Page(f"tree, {name}: toggle a table", f"{base}toggle/", _toggle("shop", schema, "app_00001"))
        yield Page(f"tree, {name}: toggle a schema", f"{base}toggle/", _toggle("shop", schema))
        yield Page(f"tree, {name}: first paint of a part", base)
        yield Page(f"tree, {name}: toggle by pattern", f"{base}matching/", _matching("app_0*"))
        yield Page(
            f"tree, {name}: toggle a table, with a pattern", f"{base}toggle/", _toggle("shop", schema, "log_00003")
        )
        yield Page(f"tree, {name}: what it needs", f"{base}needs/")


def _toggle(*path: str) -> Callable[[int], dict[str, str]]:
    return lambda number: {"pick": json.dumps({"path": path, "selected": bool(number % 2)})}


def _matching(pattern: str) -> Callable[[int], dict[str, str]]:
    return lambda number: {
        "matching": json.dumps({"path": [], "q": pattern, "mode": ["", "data", "structure"][number % 3]})
    }


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


def measure(port: int, session: str, page: Page, clients: int, requests: int) -> list[float]:
    """Return the times of `requests` answers for each of `clients` clients at once."""
    times: list[float] = []
    wrong: list[str] = []

    def work(offset: int) -> None:
        browser = Browser(port, session)
        try:
            times.extend([browser.ask(page, offset + number) for number in range(requests)])
        except (ValueError, OSError) as error:
            wrong.append(f"{page.name}: {error}")

    threads = [threading.Thread(target=work, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise SystemExit(wrong[0])
    return times


def percentiles(times: list[float]) -> str:
    """Return median and 95th percentile in words."""
    return f"{statistics.median(times):7.0f} {statistics.quantiles(times, n=20)[-1]:7.0f}"


def serve(installation: Installation) -> int:
    """Start the web server as `manage.py up` does, and return its port once it answers."""
    port = free_port()
    installation.start("up", "--only", "web", "--port", str(port))
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return port
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"the web server did not start:\n{installation.logs()[-2000:]}")


def main() -> int:
    """Fill an installation, start its web server, and print the figures."""
    parser = argparse.ArgumentParser(prog="make bench-console", description=__doc__)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=10, help="of each client for each page")
    parser.add_argument("--only", default="", help="pages whose name holds this text")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="towpath-bench-") as name:
        installation = Installation(Path(name), TOWPATH_LOG_LEVEL="ERROR")
        installation.migrate()
        ids = json.loads(installation.shell("from tests.bench.console_data import main; main()").splitlines()[-1])
        ids |= json.loads(installation.shell("from tests.bench.list_pages import main; main()").splitlines()[-1])
        try:
            port = serve(installation)
            print(f"{'milliseconds':58}    alone: p50     p95   {options.clients} clients: p50     p95")
            for page in [*pages_of_trees(ids), *(Page(name, path) for name, path in pages_of_tasks(ids))]:
                if options.only in page.name:
                    alone = measure(port, ids["session"], page, 1, options.requests)
                    many = measure(port, ids["session"], page, options.clients, options.requests)
                    print(f"{page.name:58} {percentiles(alone):>18} {percentiles(many):>26}", flush=True)
        finally:
            installation.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
