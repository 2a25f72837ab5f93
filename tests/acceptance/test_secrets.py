"""Passwords appear nowhere: a canary is searched in everything that the product writes, runs and says."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote as percent_encoded

import psycopg
import pytest
from playwright.sync_api import Browser, Error, Locator, Response, expect

from migrations_app.demo.clusters import Cluster, free_port
from migrations_app.demo.shop import load_shop
from tests.acceptance.kit import Migration, World, open_world
from tests.acceptance.places import Place, database_pair, drop_database
from tests.fakes import wait_until
from tests.installation import descendants

pytestmark = [pytest.mark.browser, pytest.mark.long]

# The letters survive every way of quoting; what surrounds them breaks every careless one.
CANARY = "canarybird7f3c91"
PASSWORD = f"%s{{0}}\"'\\ :@/{CANARY}%(x)s$$"
WRONG = f'%d"\'{CANARY}wrong%%"x'

OPERATORS = "a password of the console"  # not one of a server

# A worker deletes a message as it takes it: each is kept from the moment at which it is put into the queue.
_KEEP_MESSAGES = (
    "CREATE TABLE kept_messages (payload text)",
    "CREATE TRIGGER keep_messages AFTER INSERT ON django_q_ormq BEGIN"
    " INSERT INTO kept_messages VALUES (new.payload); END",
)


@dataclass
class Watch:
    """Looks again and again at processes, sessions and files while the product works."""

    world: World
    folder: Path
    hits: set[str] = field(default_factory=set)
    looks: int = 0
    pages: dict[str, str] = field(default_factory=dict)
    """Everything that the web server answered, and what the browser made of it."""
    seen: set[str] = field(default_factory=set)
    users_own: set[int] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while a process is looked at, and while one of the user's own begins, until it is known as such."""
    _end: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Watch:
        looking = (self._look_at_processes, self._look_at_sessions_and_files)
        self._threads = [threading.Thread(target=self._run, args=(look,), daemon=True) for look in looking]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _run(self, look: Callable[[], None]) -> None:
        try:
            look()
        except Exception as error:
            self.hits.add(f"the watch itself broke: {error!r}")

    def _look_at_processes(self) -> None:
        """Alone, because a dump of a small database is over before a busy server has answered."""
        while not self._end.wait(0.01):
            self.looks += 1
            self._processes()

    def _look_at_sessions_and_files(self) -> None:
        sessions = [cluster.connect() for cluster in (self.world.source, self.world.target)]
        for connection in sessions:
            connection.execute("SET application_name = 'watch'")
        try:
            while not self._end.wait(0.02):
                self._files()
                for connection in sessions:
                    self._sessions(connection)
        finally:
            for connection in sessions:
                connection.close()

    def _processes(self) -> None:
        with self.lock:
            for pid in descendants(os.getpid()):
                if pid not in self.users_own and not self._has_not_begun(pid):
                    self._process(pid)

    def _has_not_begun(self, pid: int) -> bool:
        """Say whether this is a copy of a user's own process that has not turned into another program yet."""
        try:
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            command, above = (Path(f"/proc/{one}/cmdline").read_bytes() for one in (pid, parent))
        except OSError:
            return False
        return parent in self.users_own and command == above

    def _process(self, pid: int) -> None:
        for part in ("cmdline", "environ"):
            try:
                text = Path(f"/proc/{pid}/{part}").read_bytes()
            except OSError:
                continue
            if part == "cmdline":
                self.seen |= {name for name in ("pg_dump", "qcluster") if name.encode() in text}
            if holds_canary(text):
                self.hits.add(f"{part} of process {pid}")

    def _files(self) -> None:
        """A password file may exist for a moment, but only for our own eyes."""
        with contextlib.suppress(OSError):  # files and folders come and go
            for path in self.folder.rglob("login-*"):
                if holds_canary(path.read_bytes()):
                    self.seen.add("password file")
                    if path.stat().st_mode & 0o077:
                        self.hits.add(f"password file {path} is open to others")

    def _sessions(self, connection: psycopg.Connection[Any]) -> None:
        rows = connection.execute(
            "SELECT application_name, query FROM pg_stat_activity WHERE application_name <> 'watch'"
        ).fetchall()
        for application, query in rows:
            self.seen |= {"session"} if str(application).startswith("towpath") else set()
            if holds_canary(f"{application} {query}".encode()):
                self.hits.add(f"pg_stat_activity: {application}")


def holds_canary(text: bytes) -> bool:
    return CANARY.encode() in text or CANARY.encode("utf-16-le") in text


def files_with_canary(folder: Path) -> list[str]:
    """Return the files below a folder whose bytes hold the canary."""
    found = []
    for path in folder.rglob("*"):
        try:
            if path.is_file() and not path.is_symlink() and holds_canary(path.read_bytes()):
                found.append(str(path))
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def world(
    source_cluster: Cluster, target_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "tmp").mkdir()
    with open_world(source_cluster, target_cluster, folder, TMPDIR=str(folder / "tmp")) as opened:
        yield opened


@pytest.fixture(scope="module", autouse=True)
def roles(source_cluster: Cluster, target_cluster: Cluster) -> Iterator[None]:
    """A role with the canary on both servers; both log every statement from here on."""
    for cluster in (source_cluster, target_cluster):
        with cluster.connect() as connection:
            # Only the digest travels: the servers' logs must be free of what we put there ourselves.
            digest = connection.pgconn.encrypt_password(PASSWORD.encode(), b"canary", b"scram-sha-256").decode()
            connection.execute(f"CREATE ROLE canary LOGIN SUPERUSER PASSWORD '{digest}'".encode())
            connection.execute("ALTER ROLE canary SET log_statement = 'all'")
            connection.execute("ALTER ROLE canary SET log_min_messages = 'debug1'")
            connection.execute("ALTER SYSTEM SET log_connections = 'on'")
            connection.execute("SELECT pg_reload_conf()")
    yield
    for cluster in (source_cluster, target_cluster):
        with cluster.connect() as connection:
            connection.execute("ALTER SYSTEM RESET log_connections")
            connection.execute("SELECT pg_reload_conf()")
            wait_until(
                lambda c=connection: not c.execute("SELECT FROM pg_stat_activity WHERE usename = 'canary'").fetchall(),
                10,
                "the end of the canary's sessions",
            )
            connection.execute("REASSIGN OWNED BY canary TO postgres")
            connection.execute("DROP ROLE canary")


@pytest.fixture(scope="module")
def pair(world: World) -> Iterator[tuple[Place, Place]]:
    with database_pair(world, lambda connection: load_shop(connection, 0.01)) as places:
        yield places


def uri(cluster: Cluster, user: str = "canary", password: str = "") -> str:
    secret = ":" + percent_encoded(password, safe="") if password else ""
    return f"postgresql://{user}{secret}@127.0.0.1:{cluster.port}/postgres"


@pytest.fixture(scope="module")
def watched(world: World, pair: tuple[Place, Place], browser: Browser) -> Watch:
    """A whole migration with the canary on both sides, failing logins before, and a source that goes away within."""
    source, target = pair
    world.operator.do(
        f"from django.db import connection\nfor sql in {_KEEP_MESSAGES!r}: connection.cursor().execute(sql)"
    )
    with Watch(world, world.installation.folder) as watch:
        _fail_to_log_in(watch, source)
        _fail_on_the_page(watch, browser)
        migration = Migration(world, source, target)
        for side in ("source", "target"):
            world.operator.do(
                f"end = Endpoint.objects.get({side}_of={migration.id!r})\n"
                f"end.account, end.password = 'canary', {PASSWORD!r}\nend.save()"
            )
        migration.start()
        migration.until("ready")
        _lose_the_password(migration)
        migration.complete()
    migration.close()
    return watch


def _by_hand(watch: Watch, words: list[str], *, code: int, **passwords: str) -> str:
    """Run a command with passwords in its environment: that one is its user's, but no child may inherit it."""
    with watch.lock:
        process = watch.world.installation.start(*words, **passwords)
        watch.users_own.add(process.pid)
    assert process.wait(60) == code
    printed = watch.world.installation.logs()
    assert CANARY not in printed
    return printed


def _fail_to_log_in(watch: Watch, source: Place) -> None:
    """By the command line, where the address is typed in by hand: with a wrong password, and as no address at all."""
    world, target = watch.world, uri(watch.world.target)
    right = {"TOWPATH_SOURCE_PASSWORD": WRONG, "TOWPATH_TARGET_PASSWORD": PASSWORD}
    words = ["task", "run", "--source", uri(world.source), "--target", target, "--database", source.name]
    assert "assword" in _by_hand(watch, words, code=2, **right)
    _by_hand(watch, words, code=0, **{**right, "TOWPATH_SOURCE_PASSWORD": PASSWORD})
    drop_database(Place(world.target, source.name))
    broken = uri(world.source, password=WRONG).replace("%25", "%")
    _by_hand(watch, ["task", "create", "--source", broken, "--target", target], code=1)


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - http
        return bool(answer.status == 200)
    return False


@contextlib.contextmanager
def _web_server(world: World) -> Iterator[str]:
    port = free_port()
    logs = str(world.installation.folder / "logs")
    process = world.installation.start("up", "--only", "web", "--port", str(port), "--logs", logs)
    wait_until(lambda: _answers(f"http://127.0.0.1:{port}/readyz"), 60, "the web server")
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    assert process.wait(60) == 0


def _fail_on_the_page(watch: Watch, browser: Browser) -> None:
    """A wrong password, typed into a browser and tried by *Test connection*; then every page that could repeat it."""
    watch.world.operator.do(f"User.objects.create_superuser('operator', password={OPERATORS!r})")
    answers: list[Response] = []
    with _web_server(watch.world) as base, browser.new_page() as page:
        page.on("response", lambda answer: answers.append(answer))
        page.goto(base)
        page.get_by_label("Account").fill("operator")
        page.get_by_label("Password").fill(OPERATORS)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="Create Task").first.click()
        _press_test_connection(page.get_by_role("region", name="Source"), watch.world.source.port)
        watch.pages["after the press"] = page.content()
        for answer in answers:  # those of earlier pages are gone: the browser keeps them as long as it shows the page
            with contextlib.suppress(Error):
                watch.pages[f"answer of {answer.url.removeprefix(base)}, {len(watch.pages)}"] = answer.text()
        draft = page.url
        for url in (draft, draft.replace("settings/", ""), f"{base}/", f"{base}/endpoints/", f"{base}/audit/"):
            page.goto(url)
            watch.pages[url.removeprefix(base)] = page.content()


def _press_test_connection(side: Locator, port: int) -> None:
    side.get_by_label("Server address").fill("127.0.0.1")
    side.get_by_role("textbox", name="Port").fill(str(port))
    side.get_by_label("Account").fill("canary")
    side.get_by_label(re.compile(r"^\s*Password")).fill(WRONG)
    side.get_by_label("TLS").select_option("disable")
    side.get_by_role("button", name="Test connection").click()
    expect(side.locator(".test .state")).to_have_text("Failed", timeout=60_000)
    expect(side.locator(".test")).to_contain_text("canary")  # the account whose password was refused


def _lose_the_password(migration: Migration) -> None:
    """A wrong password while the task runs: the sessions are cut, so the next login fails."""
    change = f"Endpoint.objects.filter(source_of={migration.id!r}).get()"
    migration.world.operator.do(f"end = {change}\nend.password = {WRONG!r}\nend.save()")
    with migration.source.cluster.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name ~ '^towpath:'"
        )
    migration.until("failed", seconds=60)
    migration.world.operator.do(f"end = {change}\nend.password = {PASSWORD!r}\nend.save()")
    migration.press("retry_task")


def test_no_process_and_no_session_shows_the_password(watched: Watch) -> None:
    # The command line's own process carries what its user put there.
    assert watched.hits == set()
    assert watched.looks > 50
    assert watched.seen >= {"pg_dump", "qcluster", "session"}, "the watch must have seen something"


def test_no_page_repeats_the_password_that_a_test_of_a_connection_was_refused_with(watched: Watch) -> None:
    polled = [text for name, text in watched.pages.items() if "answer of /tests/" in name]
    assert "password" in polled[-1], "the answer that tells of the failed test must have been looked at"
    assert [name for name, text in watched.pages.items() if CANARY in text] == []


def test_no_file_of_the_installation_holds_the_password(watched: Watch, world: World) -> None:
    world.operator.do("from django.db import connection; connection.cursor().execute('PRAGMA wal_checkpoint')")
    names = {path.name for path in world.installation.folder.rglob("*")}
    assert "console.sqlite3" in names
    assert files_with_canary(world.installation.folder) == []


def test_the_servers_logs_do_not_hold_the_password(watched: Watch, world: World) -> None:
    for cluster in (world.source, world.target):
        text = cluster.log.read_bytes()
        assert b"statement:" in text, "the servers must have logged statements"
        assert not holds_canary(text)


def test_no_row_of_our_database_holds_the_password(watched: Watch, world: World) -> None:
    dump = world.installation.manage("dumpdata", "--all")
    assert dump.returncode == 0
    assert '"migrations_app.migrationtask"' in dump.stdout
    assert CANARY not in dump.stdout


def _opened(payload: str) -> bytes:
    """Return the pickle inside a signed message, whose letters are not those of what it holds."""
    text = payload.partition(":")[0]
    assert not text.startswith("."), "compressed: it has to be unpacked first"
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_no_message_in_the_queue_held_the_password(watched: Watch, world: World) -> None:
    messages = [_opened(str(payload)) for (payload,) in world.installation.query("SELECT payload FROM kept_messages")]
    for job in (
        b"migrations_app.jobs.test",
        b"migrations_app.jobs.check",
        b"migrations_app.jobs.migrate",
        b"migrations_app.jobs.sync",
    ):
        assert any(job in message for message in messages), f"{job!r}: what is looked at must be messages"
    assert [message for message in messages if holds_canary(message)] == []


def test_a_dump_of_our_database_can_be_loaded_again(watched: Watch, world: World) -> None:
    world.operator.do(
        "from django.core import serializers\n"
        "text = serializers.serialize('json', Endpoint.objects.filter(account='canary'))\n"
        "found = [one.object.password for one in serializers.deserialize('json', text)]\n"
        f"assert found.count({PASSWORD!r}) >= 2, 'the passwords must survive'"
    )


def test_nothing_is_left_in_temporary_folders(watched: Watch, world: World) -> None:
    folder = world.installation.folder
    assert [str(path) for path in (folder / "tmp").rglob("*")] == []
    assert [str(path) for path in (folder / "work").rglob("*") if path.is_file()] == []


def test_files_that_hold_secrets_are_private(watched: Watch, world: World) -> None:
    folder = world.installation.folder
    for name in ("encryption_key", "secret_key"):
        assert (folder / name).stat().st_mode & 0o077 == 0, name


def test_the_history_of_a_failed_login_tells_the_account_but_no_password(watched: Watch, world: World) -> None:
    told = " ".join(text for (text,) in world.installation.query("SELECT message FROM migrations_app_event"))
    assert "canary" in told
    assert CANARY not in told
