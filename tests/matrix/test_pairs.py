"""Every source against every target that is not older: `task run` on real servers, under writers, to the last row.

The applications write until the target has caught up and a while longer, and stop before Complete, as an operator
has to do it; `task run` is started without `--complete` for that, and Complete is pressed from another terminal.

PostgreSQL 9.3 has no logical decoding: full migrations only. A version whose binaries cannot be had is a skip with its
reason, in the output and in the table.
"""

from __future__ import annotations

import itertools
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from migrations_app.engine.errors import EngineError
from migrations_app.engine.plan import Server as Endpoint
from migrations_app.engine.plan import Side
from migrations_app.engine.probe import refuse_version
from tests.acceptance.places import Place, drop_database, leftovers, quoted
from tests.comparator import differences
from tests.fakes import wait_until
from tests.installation import Installation
from tests.matrix import shop, torture
from tests.matrix.conftest import Servers
from tests.matrix.table import Result, Table
from tests.servers import MAJORS, Server, older, why_unavailable

pytestmark = pytest.mark.matrix

_SHOP, _TORTURE, _LATIN = "shop", """tor'ture "ü" %s""", "latin"
_OLD_TARGETS = ("10", "13", "16", "18")
_ROUNDS_IN_SYNC = 2
_SCALE = 0.01
_LATIN_ROWS = (
    "CREATE TABLE words (id serial PRIMARY KEY, w text, c char(3), k varchar(5) UNIQUE)",
    "INSERT INTO words (w, c, k) VALUES ('Gr\u00f6\u00dfe', '\u00e4', '\u00a3'), ('na\u00efve \u00bf', NULL, '')",
    "INSERT INTO words (w, c, k) VALUES ('', '\u00ff', '\u00b5m')",
    "COMMENT ON TABLE words IS 'f\u00fcr \u00d1and\u00fa'",
)  # fmt: skip


def _pairs() -> list[Any]:
    recent = [version for version in MAJORS if not older(version, "10")]
    pairs = [(one, other) for one, other in itertools.product(recent, recent) if not older(other, one)]
    pairs += [(old, target) for old in MAJORS if older(old, "10") for target in _OLD_TARGETS]
    return [pytest.param(source, target, id=f"{source}-to-{target}") for source, target in pairs]


def _refused(version: str) -> str:
    """Return why the product does not take this version as a source, or ''."""
    major, _, minor = version.partition(".")
    number = int(major) * 10000 + int(minor or 0) * 100 + 1
    server = Endpoint(host="127.0.0.1", port=1, user="u", password="")
    try:
        refuse_version(number, Side.SOURCE, server)
    except EngineError as error:
        return error.message
    return ""


@pytest.mark.parametrize(("source_version", "target_version"), _pairs())
def test_every_row_and_every_definition_arrives(
    source_version: str,
    target_version: str,
    versions: Servers,
    installation: Installation,
    table: Table,
    seed: int,
    tmp_path: Path,
) -> None:
    mode = "full" if older(source_version, "9.4") else "full+sync"
    reason = why_unavailable(source_version) or why_unavailable(target_version) or _refused(source_version)
    date = f"{datetime.now(tz=UTC):%Y-%m-%d}"
    if reason:
        table.add(Result(source_version, target_version, mode, f"skipped: {reason}", 0, 0, 0, 0, seed, date), [])
        pytest.skip(reason)
    print(f"TOWPATH_MATRIX_SEED={seed}")
    ends = versions.of(source_version, "source"), versions.of(target_version, "target")
    with _Migration(*ends, mode, seed) as migration:
        started = time.monotonic()
        try:
            migration.run(installation)
            found = migration.differences()
            result = "equal" if not found else f"{len(found)} differences, first: {found[0][:120]}"
        except BaseException as error:
            result = f"failed: {' '.join(str(error).split())[:160]}"
            raise
        finally:
            table.add(
                Result(
                    source_version, target_version, mode, result, time.monotonic() - started, migration.tables(),
                    migration.changes, len(migration.left_out), seed, date, migration.numbers(),
                ),
                migration.left_out,
            )  # fmt: skip
    assert found == [], "\n".join(found[:40])


class _Migration:
    """Three databases on their way from one server to the other."""

    def __init__(self, source: Server, target: Server, mode: str, seed: int) -> None:
        self._mode, self._seed = mode, seed
        self._ends = {name: (Place(source, name), Place(target, name)) for name in (_SHOP, _TORTURE, _LATIN)}
        self._source, self._target = source, target
        self.left_out: list[str] = []
        self.changes = 0
        self._known: list[torture.Piece] = []

    def __enter__(self) -> _Migration:
        try:
            self._fill()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for place in itertools.chain(*self._ends.values()):
            _drop(place)

    def _fill(self) -> None:
        with self._source.connect() as connection:
            for name in (_SHOP, _TORTURE):
                connection.execute(f"CREATE DATABASE {quoted(name)} ENCODING 'UTF8' TEMPLATE template0".encode())
            connection.execute(
                f"CREATE DATABASE {_LATIN} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
            )
        self.left_out += [f"shop: {one}" for one in shop.load(self._source, _SHOP, _SCALE)]
        self._known, unknown = torture.load(self._source, _TORTURE)
        self.left_out += unknown
        self._ends[_LATIN][0].run(*_LATIN_ROWS)
        for source, _ in self._ends.values():
            if not older(self._source.version, "9.4"):
                source.remember()

    def run(self, installation: Installation) -> None:
        """Migrate by `task run`, writing meanwhile, and press Complete once nobody writes."""
        databases = [word for name in self._ends for word in ("--database", name)]
        addresses = {"--source": self._source, "--target": self._target}
        ends = [word for name, end in addresses.items() for word in (name, end.uri(with_password=False))]
        secrets = {
            "TOWPATH_SOURCE_PASSWORD": self._source.password,
            "TOWPATH_TARGET_PASSWORD": self._target.password,
        }
        command = ["task", "run", *ends, *databases, "--mode", self._mode]
        if self._mode == "full":
            done = installation.manage(*command, timeout=900, **secrets)
            assert done.returncode == 0, done.stderr[-6000:] + done.stdout[-6000:]
            return
        with self._writers():
            process = installation.start(*command, **secrets)
            number = f"task-{len(installation.processes) - 1}.log"
            log = installation.folder / number
            task = _started(process, log)
            wait_until(lambda: _status(installation, task, process, log) == "ready", 300, "being in sync")
            rounds = self._torture.rounds + _ROUNDS_IN_SYNC
            wait_until(lambda: self._torture.rounds > rounds, 120, "two rounds of changes in sync")
        pressed = installation.manage("task", "complete", task)
        assert pressed.returncode == 0, pressed.stdout + pressed.stderr
        wait_until(
            lambda: process.poll() is not None or _refused_to_end(installation, task), 600, "the end of Complete"
        )
        if process.poll() is None:
            process.terminate()
        assert process.wait(60) == 0, _words(log)

    @contextmanager
    def _writers(self) -> Iterator[None]:
        shopping, unable = shop.writer_for(self._source, _SHOP, self._seed)
        self.left_out += [f"shop: {one}" for one in unable]
        self._torture = torture.Writer(self._source, _TORTURE, self._known, self._seed)
        with shopping:
            self._torture.start()
            try:
                yield
            finally:
                done = self._torture.stop()
        self._ends[_LATIN][0].run(
            "INSERT INTO words (w, k) VALUES ('sp\u00e4t', 'n\u00e9')", "UPDATE words SET c = '\u00fc'"
        )
        bought = shopping.stats()
        assert done.errors == [], "\n".join(done.errors[:10])
        assert bought.errors == ()
        self.changes = done.committed + bought.committed

    def differences(self) -> list[str]:
        """Return what differs between both sides, and what the product left on them, in words."""
        found = []
        for name, (source, target) in self._ends.items():
            _refresh(source)
            with source.connect() as one, target.connect() as other:
                found += [f"{name}: {line}" for line in differences(one, other, rights=True)]
            if not older(self._source.version, "9.4"):
                wait_until(lambda: not leftovers(source, target), 10, f"nothing of ours: {leftovers(source, target)}")  # noqa: B023
        return found

    def tables(self) -> int:
        """Return the number of tables of the three databases."""
        count = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind IN ('r', 'p') AND nspname !~ '^pg_|^information_schema$'"  # noqa: E501
        return sum(source.value(count) for source, _ in self._ends.values())

    def numbers(self) -> tuple[str, str]:
        """Return both servers' own version numbers."""
        shown = [Place(server, "postgres").value("SHOW server_version") for server in (self._source, self._target)]
        return shown[0], shown[1]


def _started(process: subprocess.Popen[bytes], log: Path) -> str:
    def first_line() -> str:
        assert process.poll() is None or log.stat().st_size, "task run ended at once"
        words = log.read_text(errors="replace").split("\n", 1)[0].split()
        return words[1] if len(words) == 2 and words[0] == "task" else ""

    wait_until(lambda: bool(first_line()), 60, "the task's id")
    return first_line()


def _words(log: Path) -> str:
    """Return what a run said, before all why it ended: items that its check refused, or the code of a failure."""
    text = log.read_text(errors="replace")
    reasons = [line.strip() for line in text.splitlines() if re.match(r"  FAILED |  [A-Z]+(-[A-Z]+)+: ", line)]
    return "\n".join((*reasons, text[-6000:]))


def _status(installation: Installation, task: str, process: subprocess.Popen[bytes], log: Path) -> str:
    assert process.poll() is None, _words(log)
    one = "SELECT status FROM migrations_app_migrationtask WHERE id = ?"
    return str(installation.query(one, task.replace("-", ""))[0][0])


def _refused_to_end(installation: Installation, task: str) -> bool:
    """Say whether Complete was taken back, because of differences or of its check."""
    one = "SELECT status, error_code FROM migrations_app_migrationtask WHERE id = ?"
    status, code = installation.query(one, task.replace("-", ""))[0]
    return status == "ready" and bool(code)


def _refresh(place: Place) -> None:
    """Fill those materialized views anew that are filled, as Complete does on the target."""
    with place.connect() as connection:
        filled = "SELECT oid::regclass FROM pg_class WHERE relkind = 'm' AND relispopulated ORDER BY oid"
        for (name,) in connection.execute(filled).fetchall():
            connection.execute(f"REFRESH MATERIALIZED VIEW {name}".encode())


def _drop(place: Place) -> None:
    """Drop a database as every version can: FORCE came with 13."""
    with place.cluster.connect() as connection:
        version = connection.info.server_version
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (place.name,))
    if version >= 130000:
        drop_database(place)
        return
    with place.cluster.connect() as connection:
        if version >= 90400:
            gone = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s"
            wait_until(lambda: not _active_slots(place), 10, "the ends of the slots' readers")
            connection.execute(gone, (place.name,))
        connection.execute(f"DROP DATABASE IF EXISTS {quoted(place.name)}".encode())


def _active_slots(place: Place) -> list[Any]:
    with place.cluster.connect() as connection:
        active = "SELECT FROM pg_replication_slots WHERE active AND database = %s"
        return connection.execute(active, (place.name,)).fetchall()
