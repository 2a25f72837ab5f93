"""What the command line refuses: in words, with the exit code, and with nothing made anywhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from migrations_app.models import MigrationTask
from tests import impostors
from tests.acceptance import terminal_kit
from tests.acceptance.places import Place
from tests.acceptance.terminal_kit import Terminal
from tests.installation import Installation

# Fixtures that stand in the kit.
terminal = terminal_kit.terminal
small = terminal_kit.small


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


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("side", "words", "uri"),
    [
        ("source", "Nothing accepts connections at the source 127.0.0.1:1", "postgresql://u:x@127.0.0.1:1/postgres"),
        ("target", "target.*no-such-host.invalid", "postgresql://u:x@no-such-host.invalid/postgres"),
    ],
)
def test_a_wrong_address_is_told(terminal: Terminal, side: str, words: str, uri: str) -> None:
    _refused(terminal, words, **{side: uri})


@pytest.mark.long
def test_a_console_that_was_never_started_has_no_tasks(tmp_path: Path) -> None:
    listed = Installation(tmp_path).manage("task", "list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert Installation(tmp_path).manage("task", "show", "1").stderr.startswith("CommandError: ")


@pytest.mark.long
@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--target", "{target}", "--jobs", "many"], "argument --jobs: takes a whole number from 1 to 64, not 'many'"),
        (["--target", "{target}", "--jbos", "2"], "unrecognized arguments: --jbos"),
        (["--jobs", "2"], "Both --source and --target are needed."),
    ],
)
def test_an_option_that_is_wrong_or_missing_ends_with_1_and_makes_nothing(
    terminal: Terminal, words: list[str], said: str
) -> None:
    before, tasks = _state(terminal), terminal.task("list").stdout
    words = [word.format(target=terminal.target.uri()) for word in words]
    done = terminal.task("run", "--source", terminal.source.uri(), *words)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert said in done.stderr
    assert (_state(terminal), terminal.task("list").stdout) == (before, tasks)


@pytest.mark.sample(1)
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


@pytest.mark.long
def test_a_missing_database_is_told(terminal: Terminal) -> None:
    _refused(terminal, "no database absent", source=terminal.source.uri("absent"))


def test_a_missing_database_by_name_is_told(terminal: Terminal) -> None:
    _refused(terminal, "absent", "--database", "absent")


@pytest.mark.long
def test_refused_tls_is_told(terminal: Terminal) -> None:
    _refused(terminal, "TLS", source=terminal.source.uri() + "?sslmode=require")


@pytest.mark.long
def test_something_else_at_the_port_is_told(terminal: Terminal) -> None:
    def web(client: Any) -> None:
        client.recv(4096)
        client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with impostors.listening(web) as port:
        _refused(terminal, "not.* PostgreSQL", source=f"postgresql://u:p@127.0.0.1:{port}/postgres")


@pytest.mark.parametrize(
    ("side", "version", "words"),
    [
        ("source", "9.2.24", r"The source 127\.0\.0\.1:\d+ is PostgreSQL 9\.2\.24"),
        ("source", "19.1", r"The source 127\.0\.0\.1:\d+ is PostgreSQL 19\.1"),
        ("target", "9.6.24", r"The target 127\.0\.0\.1:\d+ is PostgreSQL 9\.6\.24"),
        ("target", "19.1", r"The target 127\.0\.0\.1:\d+ is PostgreSQL 19\.1"),
    ],
)
def test_a_version_out_of_range_is_told(terminal: Terminal, side: str, version: str, words: str) -> None:
    with impostors.listening(impostors.pretending(version)) as port:
        uri = f"postgresql://u@127.0.0.1:{port}/postgres?sslmode=disable"  # this server asks for no password
        said = _refused(terminal, words, **{side: uri})  # type: ignore[arg-type]
    assert "FAILED" in said


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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
