"""Running pg_dump: the right one, without leaks, orphans or detours."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migrations_app.engine import pgtools
from migrations_app.engine.errors import CancelRequested, PlanError
from migrations_app.engine.plan import Side
from migrations_app.engine.steps import schema
from tests.fakes import FakeControl, wait_until
from tests.postgres.engine_runs import make_plan, running, server


@pytest.fixture
def plan(awkward_plan):
    return awkward_plan


def test_a_cancelled_dump_ends_at_once_and_leaves_no_file(plan, monkeypatch, tmp_path):
    monkeypatch.setattr(pgtools, "_LAUNCHER", "import time; time.sleep(60)")
    with running(plan) as run:
        real = run.ports.control.check
        calls = iter(range(40))

        def check() -> None:
            if next(calls, None) is None:
                raise CancelRequested
            real()

        monkeypatch.setattr(run.ports.control, "check", check)
        with pytest.raises(CancelRequested):
            pgtools.dump_schema(run, plan.databases[0].source_name, "", tmp_path / "x.dump")
    assert list(tmp_path.iterdir()) == []


def test_the_password_is_in_no_argument_and_in_no_environment(plan, monkeypatch, tmp_path):
    seen: list[str] = []
    real = pgtools.subprocess.Popen

    def spy(command: list[str], **more: Any) -> Any:
        seen.extend([*command, *more["env"].values()])
        file = Path(more["env"]["PGPASSFILE"])
        assert (file.stat().st_mode & 0o777, plan.source.password in file.read_text()) == (0o600, True)
        return real(command, **more)

    with running(plan) as run:
        pgtools.pg_dump_path(
            run.sessions.version(Side.SOURCE), run.sessions.version(Side.TARGET)
        )  # asks its version once
        monkeypatch.setattr(pgtools.subprocess, "Popen", spy)
        pgtools.dump_schema(run, plan.databases[0].source_name, "", tmp_path / "x.dump")
    assert not [text for text in seen if plan.source.password in text]
    assert [file.name for file in tmp_path.iterdir()] == ["x.dump"]


def test_a_password_with_special_characters_works(source_cluster, plan, tmp_path):
    with source_cluster.connect() as connection:
        connection.execute("CREATE ROLE \"odd: user\" SUPERUSER LOGIN PASSWORD 'a:b\\c''d e'")
        try:
            odd = replace(plan, source=server(source_cluster, "odd: user", "a:b\\c'd e"))
            with running(odd) as run:
                pgtools.dump_schema(run, plan.databases[0].source_name, "", tmp_path / "x.dump")
        finally:
            connection.execute('DROP ROLE "odd: user"')
    assert (tmp_path / "x.dump").exists()


def test_the_tool_fits_both_servers(monkeypatch, tmp_path):
    assert pgtools.tool_version(pgtools.pg_dump_path(160014, 160014))[0] == 16
    assert pgtools.tool_version(pgtools.pg_dump_path(130000, 160014))[0] == 16
    assert pgtools.tool_version(pgtools.pg_dump_path(160014, 180004))[0] == 18
    assert pgtools.tool_version(pgtools.pg_dump_path(180004, 160014))[0] == 18


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ("pg_dump (PostgreSQL) 15.18", "cannot read"),
        ("pg_dump (PostgreSQL) 16.3", "security hole"),
        ("pg_dump (PostgreSQL) 17beta1", "released version"),
        ("hello", "not a PostgreSQL program"),
    ],
)
def test_an_unfit_pg_dump_is_refused(monkeypatch, tmp_path, says, reason):
    tool = tmp_path / "pg_dump"
    tool.write_text(f"#!/bin/sh\necho '{says}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("TOWPATH_PG_BIN_DIR", str(tmp_path))
    with pytest.raises(PlanError, match=reason):
        pgtools.pg_dump_path(160000, 180000)


def test_a_missing_pg_dump_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("TOWPATH_PG_BIN_DIR", str(tmp_path))
    with pytest.raises(PlanError, match="no pg_dump"):
        pgtools.pg_dump_path(160000, 180000)


def test_a_database_name_cannot_send_the_dump_elsewhere(source_cluster, target_cluster, target_db, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as rogue:
        rogue.settimeout(0.2)
        name = f"host=127.0.0.1 port={rogue.getsockname()[1]} dbname=x"
        plan = make_plan(source_cluster, target_cluster, [(name, target_db)], tmp_path, incremental=False)
        with source_cluster.connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        try:
            with running(plan) as run:
                schema.run(run)
            with pytest.raises(TimeoutError):
                rogue.accept()
        finally:
            with source_cluster.connect() as connection:
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def test_a_tool_that_says_more_than_anybody_reads_still_ends(tmp_path):
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\nhead -c 300000 /dev/zero | tr '\\0' x >&2\nexit 3\n")
    tool.chmod(0o755)
    status, words = pgtools._run([str(tool)], {"PATH": "/usr/bin:/bin"}, FakeControl())
    assert (status, words) == (3, "x" * 65536)


def test_a_dump_dies_with_its_worker(tmp_path):
    marker = tmp_path / "pid"
    tool = tmp_path / "tool"
    tool.write_text(f"#!/bin/sh\necho $$ > {marker}.new && mv {marker}.new {marker}\nexec sleep 300\n")
    tool.chmod(0o755)
    code = (
        "import sys; from migrations_app.engine import pgtools; from tests.fakes import FakeControl;"
        "pgtools._run([sys.argv[1]], {'PATH': '/usr/bin:/bin'}, FakeControl())"
    )
    worker = subprocess.Popen([sys.executable, "-c", code, str(tool)], cwd=Path(__file__).parents[2])
    wait_until(marker.exists, what="the start of the tool")
    child = int(marker.read_text())
    worker.kill()
    worker.wait()
    wait_until(lambda: not Path(f"/proc/{child}").exists() or is_zombie(child), 10, "the end of the tool")


def is_zombie(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True
