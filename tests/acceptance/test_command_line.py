"""`manage.py task run` as a script uses it: exit codes, JSON, passwords, and clear words for bad input."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from migrations_app.demo.clusters import Cluster, source_settings
from migrations_app.demo.shop import load_shop
from migrations_app.models import MigrationTask
from tests import impostors
from tests.acceptance.places import Place, database_pair, nothing_of_ours, slow_copy
from tests.comparator import differences
from tests.fakes import wait_until
from tests.folders import public_folder
from tests.installation import ROOT, Installation

_TABLES = """
CREATE SCHEMA sales;
CREATE TABLE sales.parents (id int PRIMARY KEY, name text);
CREATE TABLE sales.children (id int PRIMARY KEY, parent int REFERENCES sales.parents);
CREATE TABLE public.things (id int PRIMARY KEY, v text);
INSERT INTO sales.parents SELECT g, 'p' FROM generate_series(1, 50) g;
INSERT INTO sales.children SELECT g, g FROM generate_series(1, 50) g;
INSERT INTO public.things SELECT g, 't' FROM generate_series(1, 50) g;
"""


class Terminal:
    """A shell with `manage.py task` and two servers; no worker runs anywhere."""

    def __init__(self, installation: Installation, source: Cluster, target: Cluster) -> None:
        self.installation, self.source, self.target = installation, source, target

    def task(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.installation.manage("task", *words, **environment)

    def run(self, *more: str, source: str = "", target: str = "", **environment: str) -> Any:
        """Run a task with the servers' own addresses, or others."""
        ends = ["--source", source or self.source.uri(), "--target", target or self.target.uri()]
        return self.task("run", *ends, *more, **environment)

    def run_on_a_screen(self, *more: str) -> tuple[int, str, str]:
        """Run a task whose messages go to a screen. Returns the exit code, what was printed, what the screen got."""
        ends = ["--source", self.source.uri(), "--target", self.target.uri()]
        command = [sys.executable, str(ROOT / "manage.py"), "task", "run", *ends, *more]
        screen, other_end = pty.openpty()
        with subprocess.Popen(
            command, env=self.installation.environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=other_end, text=True
        ) as process:
            os.close(other_end)
            got = b""
            with contextlib.suppress(OSError):  # what a screen says when nobody writes to it any more
                while part := os.read(screen, 65536):
                    got += part
            os.close(screen)
            printed = process.stdout.read() if process.stdout else ""
            return process.wait(60), printed, got.decode().replace("\r\n", "\n")


@pytest.fixture(scope="module")
def terminal(
    source_cluster: Cluster, target_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Terminal]:
    installation = Installation(tmp_path_factory.mktemp("terminal"))
    installation.migrate()
    yield Terminal(installation, source_cluster, target_cluster)
    installation.stop()


@pytest.fixture
def shop(terminal: Terminal) -> Iterator[tuple[Place, Place]]:
    with database_pair(terminal, lambda connection: load_shop(connection, 0.01)) as places:
        yield places


@pytest.fixture
def small(terminal: Terminal) -> Iterator[tuple[Place, Place]]:
    with database_pair(terminal, _TABLES) as places:
        yield places


def different(source: Place, target: Place, **options: Any) -> list[str]:
    with source.connect() as one, target.connect() as other:
        return differences(one, other, **options)


def test_a_full_migration_ends_equal_with_exit_code_0(terminal: Terminal, shop: tuple[Place, Place]) -> None:
    done = terminal.run("--database", shop[0].name, "--mode", "full")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "completed" in done.stdout
    assert "equal" in done.stdout
    assert different(*shop) == []
    nothing_of_ours(*shop, seconds=0)


def test_a_run_to_complete_ends_equal_and_tells_everything_as_json(
    terminal: Terminal, shop: tuple[Place, Place]
) -> None:
    done = terminal.run("--database", shop[0].name, "--complete", "--json", "--jobs", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["status"] == "completed"
    assert report["differences"] == []
    assert {step["name"] for step in report["steps"]} >= {"schema", "copy", "index", "sync", "complete"}
    assert all(step["seconds"] >= 0 for step in report["steps"])
    assert sum(table["rows"] for table in report["tables"]) > 10_000
    assert all(table["bytes"] > 0 for table in report["tables"] if table["rows"])
    assert set(report["lag"]) == {"bytes", "seconds"}
    assert different(*shop) == []
    nothing_of_ours(*shop, seconds=0)


def test_without_a_comparison_nothing_is_called_equal_and_a_screen_gets_one_line_that_changes(
    terminal: Terminal, small: tuple[Place, Place]
) -> None:
    code, printed, screen = terminal.run_on_a_screen("--database", small[0].name, "--mode", "full", "--no-compare")
    assert code == 0, printed + screen
    assert "not compared" in printed
    assert "equal" not in printed + screen
    shown = screen.split("\r\x1b[2K")
    assert len(shown) >= 2, screen
    assert all("\n" not in line for line in shown[1:-1])
    assert re.search(r"step \d of \d: |Completed", shown[-1]), screen
    assert shown[-1].endswith("\n")
    assert different(*small) == []
    nothing_of_ours(*small, seconds=0)


def test_a_copy_under_way_is_made_faster(terminal: Terminal, small: tuple[Place, Place]) -> None:
    source, target = small
    source.run("CREATE TABLE big AS SELECT n, repeat('x', 1000) AS filler FROM generate_series(1, 150000) n")
    ends = ["--source", terminal.source.uri(), "--target", terminal.target.uri(), "--database", source.name]
    task = terminal.installation.start("task", "run", *ends, "--mode", "full", "--no-compare", "--max-rate", "1")
    copying = "SELECT task_id FROM migrations_app_tablecopy WHERE status = 'copying' AND name = 'big'"
    wait_until(lambda: terminal.installation.query(copying), what="a table that is being copied")
    key = terminal.installation.query(copying)[0][0]
    tuned = terminal.task("tune", key[:8], "--jobs", "3", "--max-rate", "none")
    assert tuned.returncode == 0, tuned.stderr
    assert task.wait(140) == 0  # at 1 MB/s it would take longer
    assert terminal.installation.query("SELECT message FROM migrations_app_auditentry")[-1][0].endswith("no cap.")
    assert target.value("SELECT count(*) FROM big") == 150_000
    assert "any more" in terminal.task("tune", key[:8], "--jobs", "2").stderr


def test_only_what_is_included_is_migrated(terminal: Terminal, small: tuple[Place, Place]) -> None:
    source, target = small
    done = terminal.run("--database", source.name, "--include", "sales", "--mode", "full")
    assert done.returncode == 0, done.stdout + done.stderr
    assert different(source, target, tables=["sales.parents", "sales.children"]) == []
    assert target.value("SELECT to_regclass('public.things')") is None


def test_a_single_table_can_be_included(terminal: Terminal, small: tuple[Place, Place]) -> None:
    source, target = small
    done = terminal.run("--database", source.name, "--include", "public.things", "--complete")
    assert done.returncode == 0, done.stdout + done.stderr
    assert different(source, target, tables=["public.things"]) == []
    assert target.value("SELECT to_regclass('sales.parents')") is None
    nothing_of_ours(source, target, seconds=0)


def test_schemas_get_other_names_and_structure_comes_alone(terminal: Terminal, small: tuple[Place, Place]) -> None:
    source, target = small
    words = ["--map-schema", f"{source.name}.sales=public", "--map-schema", 'public="Odd.1"']
    words += ["--structure-only", "sales.parents", "--without-foreign-keys"]
    done = terminal.run("--database", source.name, "--complete", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "schema public → Odd.1" in done.stdout
    assert "public.parents" not in done.stdout
    assert "sales.parents: structure_only" in done.stdout
    assert target.value("SELECT count(*) FROM public.parents") == 0
    assert target.value("SELECT count(*) FROM public.children") == source.value("SELECT count(*) FROM sales.children")
    assert target.value('SELECT count(*) FROM "Odd.1".things') == source.value("SELECT count(*) FROM public.things")
    assert target.value("SELECT count(*) FROM pg_constraint WHERE contype = 'f'") == 0
    nothing_of_ours(source, target, seconds=0)


def test_a_row_written_on_the_target_meanwhile_is_found_with_exit_code_4(
    terminal: Terminal, small: tuple[Place, Place]
) -> None:
    source, target = small
    with source.connect() as connection:
        slow_copy(connection)
    source.remember()
    words = ["--database", source.name, "--complete", "--json"]
    process = terminal.installation.start(
        "task", "run", "--source", source.cluster.uri(), "--target", target.cluster.uri(), *words
    )
    wait_until(
        lambda: target.exists() and target.value("SELECT to_regclass('public.things')") is not None, 30, "the table"
    )
    wait_until(lambda: target.value("SELECT count(*) FROM public.things") == 50, 30, "its rows")
    target.run("INSERT INTO public.things VALUES (1000, 'mine')")
    assert process.wait(60) == 4, terminal.installation.logs()[-3000:]
    printed = terminal.installation.logs()
    assert '"differs"' in printed
    assert "1000" in printed
    (task,) = terminal.installation.query(
        "SELECT id, status FROM migrations_app_migrationtask WHERE name LIKE ?", f"{source.name}%"
    )
    assert task[1] == "ready", "the sync can go on"
    assert terminal.task("cancel", task[0]).returncode == 0
    nothing_of_ours(source, target)


def test_a_failure_ends_with_exit_code_3(terminal: Terminal, small: tuple[Place, Place]) -> None:
    source, target = small
    source.run(
        "CREATE FUNCTION public.only_here(v text) RETURNS boolean IMMUTABLE LANGUAGE sql AS"
        " $$ SELECT current_setting('server_version_num')::int < 180000 $$",
        "ALTER TABLE public.things ADD CHECK (public.only_here(v))",
    )
    source.remember()
    done = terminal.run("--database", source.name, "--mode", "full+sync", "--json")
    assert done.returncode == 3, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["status"] == "failed"
    assert "things" in report["error"]["message"]
    assert report["error"]["hint"]
    assert terminal.task("cancel", report["id"]).returncode == 0
    nothing_of_ours(source, target)


def test_passwords_may_come_from_the_environment(terminal: Terminal, small: tuple[Place, Place]) -> None:
    done = terminal.run(
        "--database", small[0].name, "--mode", "full",
        source=terminal.source.uri(with_password=False),
        target=terminal.target.uri(with_password=False),
        TOWPATH_SOURCE_PASSWORD=terminal.source.password,
        TOWPATH_TARGET_PASSWORD=terminal.target.password,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert different(*small) == []


def test_passwords_may_come_from_a_passfile(terminal: Terminal, small: tuple[Place, Place], tmp_path: Path) -> None:
    file = tmp_path / "passfile"
    ends = (terminal.source, terminal.target)
    file.write_text("".join(f"127.0.0.1:{end.port}:*:postgres:{end.password}\n" for end in ends))
    file.chmod(0o600)
    done = terminal.run(
        "--database", small[0].name, "--mode", "full", "--passfile", str(file),
        source=terminal.source.uri(with_password=False),
        target=terminal.target.uri(with_password=False),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert different(*small) == []


@pytest.fixture
def trusting() -> Iterator[Cluster]:
    """A source that asks for no password."""
    with public_folder("trusting") as folder:
        cluster = Cluster(folder=folder / "server", major=16, settings=source_settings(), auth="trust")
        cluster.create()
        cluster.start()
        yield cluster
        cluster.stop()


def test_a_server_that_asks_for_no_password_gets_none(terminal: Terminal, trusting: Cluster) -> None:
    here = Terminal(terminal.installation, trusting, terminal.target)
    with database_pair(here, _TABLES) as (source, target):
        done = here.run("--database", source.name, "--complete", source=trusting.uri(with_password=False))
        assert done.returncode == 0, done.stdout + done.stderr
        assert different(source, target) == []
        nothing_of_ours(source, target)


_OF_A_SERVER = (
    "SELECT datname FROM pg_database ORDER BY 1",
    "SELECT slot_name FROM pg_replication_slots ORDER BY 1",
    "SELECT roname FROM pg_replication_origin ORDER BY 1",
    "SELECT rolname FROM pg_roles ORDER BY 1",
)
_OF_A_DATABASE = (
    "SELECT nspname FROM pg_namespace ORDER BY 1",
    "SELECT oid::regclass::text, relkind, relreplident FROM pg_class WHERE oid >= 16384 ORDER BY 1",
    "SELECT oid::regprocedure::text FROM pg_proc WHERE oid >= 16384 ORDER BY 1",
    "SELECT oid::regtype::text FROM pg_type WHERE oid >= 16384 ORDER BY 1",
    "SELECT pubname FROM pg_publication ORDER BY 1",
    "SELECT tgname, tgrelid::regclass::text FROM pg_trigger ORDER BY 1, 2",
    "SELECT evtname FROM pg_event_trigger ORDER BY 1",
    "SELECT oid FROM pg_largeobject_metadata ORDER BY 1",
)


def _state(terminal: Terminal) -> list[Any]:
    """Return everything on both servers, in every database, that a migration could have made."""
    found: list[Any] = []
    for cluster in (terminal.source, terminal.target):
        with cluster.connect() as connection:
            found += [connection.execute(query).fetchall() for query in _OF_A_SERVER]
        for (name,) in found[-len(_OF_A_SERVER)]:
            if name != "template0":
                with cluster.connect(name) as connection:
                    found += [(name, connection.execute(query).fetchall()) for query in _OF_A_DATABASE]
    return found


def _refused(terminal: Terminal, words: str, *more: str, source: str = "", target: str = "") -> str:
    """Assert that a run is refused by the check, with these words, and that nothing was made anywhere."""
    before = _state(terminal)
    done = terminal.run("--mode", "full+sync", *more, source=source, target=target)
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert re.search(words, said), said
    assert "Traceback" not in said
    assert _state(terminal) == before
    return said


@pytest.mark.parametrize(
    ("side", "words", "uri"),
    [
        ("source", "Nothing accepts connections at the source 127.0.0.1:1", "postgresql://u:x@127.0.0.1:1/postgres"),
        ("target", "target.*no-such-host.invalid", "postgresql://u:x@no-such-host.invalid/postgres"),
    ],
)
def test_a_wrong_address_is_told(terminal: Terminal, side: str, words: str, uri: str) -> None:
    _refused(terminal, words, **{side: uri})


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_wrong_password_is_told(terminal: Terminal, side: str) -> None:
    cluster = terminal.source if side == "source" else terminal.target
    uri = f"postgresql://postgres:nope@127.0.0.1:{cluster.port}/postgres"
    said = _refused(terminal, "[Pp]assword", **{side: uri})  # type: ignore[arg-type]
    assert "nope" not in said


def test_a_check_that_fails_ends_with_exit_code_2_and_the_list_says_so(terminal: Terminal) -> None:
    ends = ["--source", terminal.source.uri("absent"), "--target", terminal.target.uri()]
    made = terminal.task("create", *ends, "--name", "to nowhere", "--json")
    key = json.loads(made.stdout)["id"]
    before = _state(terminal)
    checked = terminal.task("check", key[:8])
    assert checked.returncode == 2, checked.stdout + checked.stderr
    assert "FAILED" in checked.stdout
    assert "no database absent" in checked.stdout
    assert _state(terminal) == before
    listed = terminal.task("list")
    assert (listed.returncode, f"{key}  to nowhere: Check failed" in listed.stdout) == (0, True), listed.stdout
    known = json.loads(terminal.task("list", "--json").stdout)
    assert {"id": key, "name": "to nowhere", "status": "check_failed"} in known


@pytest.mark.django_db
def test_a_list_without_tasks_says_how_to_create_one(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("task", "list")
    assert "task create --source URI --target URI" in capsys.readouterr().out


def test_a_missing_database_is_told(terminal: Terminal) -> None:
    _refused(terminal, "no database absent", source=terminal.source.uri("absent"))


def test_a_missing_database_by_name_is_told(terminal: Terminal) -> None:
    _refused(terminal, "absent", "--database", "absent")


def test_refused_tls_is_told(terminal: Terminal) -> None:
    _refused(terminal, "TLS", source=terminal.source.uri() + "?sslmode=require")


def test_something_else_at_the_port_is_told(terminal: Terminal) -> None:
    def web(client: Any) -> None:
        client.recv(4096)
        client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with impostors.listening(web) as port:
        _refused(terminal, "not.* PostgreSQL", source=f"postgresql://u:p@127.0.0.1:{port}/postgres")


def test_a_host_that_never_answers_is_told_after_the_timeout(terminal: Terminal) -> None:
    with impostors.listening(impostors.silent) as port:
        _refused(terminal, "answer", target=f"postgresql://u:p@127.0.0.1:{port}/postgres")


def test_a_missing_right_is_told_with_the_statement_that_gives_it(
    terminal: Terminal, small: tuple[Place, Place]
) -> None:
    source, _ = small
    with source.cluster.connect() as connection:
        connection.execute("CREATE ROLE powerless LOGIN PASSWORD 'powerless'")
    try:
        uri = f"postgresql://powerless:powerless@127.0.0.1:{source.cluster.port}/postgres"
        said = _refused(terminal, "REPLICATION", "--database", source.name, source=uri)
        assert re.search("GRANT .*powerless|ALTER ROLE .*powerless", said)
    finally:
        with source.cluster.connect() as connection:
            connection.execute("DROP ROLE powerless")


def test_a_target_that_is_not_empty_is_told(terminal: Terminal, small: tuple[Place, Place]) -> None:
    source, target = small
    with target.cluster.connect() as connection:
        connection.execute(f'CREATE DATABASE "{target.name}"')
    target.run("CREATE TABLE public.things (id int)")
    said = _refused(terminal, "public.things", "--database", source.name)
    assert "FAILED" in said


def test_a_target_that_is_the_source_is_told(terminal: Terminal, small: tuple[Place, Place]) -> None:
    source, _ = small
    said = _refused(terminal, "same", "--database", source.name, target=terminal.source.uri())
    assert "FAILED" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--source", "nonsense here", "--target", "postgresql://u@h/d"], "not a connection URI"),
        (["--source", "postgresql:///d?host=/tmp", "--target", "postgresql://u@h/d"], "one host"),
        (["--source", "postgresql://u@h/d?options=-c%20x%3D1", "--target", "postgresql://u@h/d"], "not supported"),
        (["--source", "postgresql://u@h/d"], "--target"),
        (["--source", "postgresql://u@h/d", "--target", "postgresql://u@h/d", "--include", 'a"b'], "object name"),
        (["--source", "postgresql://u@h/d", "--target", "postgresql://u@h/d", "--jobs", "0"], "1 to 64"),
        (["--source", "postgresql://u@h/d", "--target", "postgresql://u@h/d", "--passfile", "/absent"], "not exist"),
        (["--source", "postgresql://u@h/d", "--target", "postgresql://u@h/d", "--max-rate", "0"], "from 1 to"),
        (
            ["--source", "postgresql://u@h/d", "--target", "postgresql://u@h/d", "--no-compare", "--complete"],
            "mode full",
        ),
        (["--resume", "ffff"], "No task"),
    ],
)
@pytest.mark.django_db
def test_words_that_make_no_sense_are_told_before_anything_is_made(words: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        call_command("task", "run", *words)
    assert not MigrationTask.objects.exists()
