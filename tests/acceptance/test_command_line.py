"""`manage.py task run` as a script uses it: exit codes, JSON, passwords, and clear words for bad input."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command

from migrations_app.demo.clusters import Cluster, source_settings
from tests.acceptance import terminal_kit
from tests.acceptance.places import Place, database_pair, nothing_of_ours, slow_copy
from tests.acceptance.terminal_kit import TABLES, Terminal, different
from tests.fakes import wait_until
from tests.folders import public_folder

# Fixtures that stand in the kit.
terminal = terminal_kit.terminal
shop = terminal_kit.shop
small = terminal_kit.small


@pytest.mark.long
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
    assert (report["eta"], report["catching_up"]) == (None, None)
    assert different(*shop) == []
    nothing_of_ours(*shop, seconds=0)


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
def test_a_run_watches_its_wal_budget_without_a_dispatcher(terminal: Terminal, small: tuple[Place, Place]) -> None:
    source, _ = small
    ends = ["--source", terminal.source.uri(), "--target", terminal.target.uri(), "--database", source.name]
    words = ["--mode", "full+sync", "--wal-budget", "1MB", "--wal-policy", "drop"]
    task = terminal.installation.start("task", "run", *ends, *words)
    ready = "SELECT id FROM migrations_app_migrationtask WHERE status = 'ready'"
    wait_until(lambda: terminal.installation.query(ready), 60, "the sync")
    with source.connect() as holding:
        # While this transaction is open the source keeps what comes after it.
        holding.execute("BEGIN; SELECT pg_logical_emit_message(true, 'test', 'held')")
        source.run("SELECT pg_logical_emit_message(false, 'test', repeat('x', 3000000))")
        assert task.wait(120) == 3, terminal.installation.logs()[-3000:]
    told = [code for (code,) in terminal.installation.query("SELECT code FROM migrations_app_event")]
    assert "WAL-GIVENUP" in told


@pytest.mark.long
def test_only_what_is_included_is_migrated(terminal: Terminal, small: tuple[Place, Place]) -> None:
    source, target = small
    done = terminal.run("--database", source.name, "--include", "sales", "--mode", "full")
    assert done.returncode == 0, done.stdout + done.stderr
    assert different(source, target, tables=["sales.parents", "sales.children"]) == []
    assert target.value("SELECT to_regclass('public.things')") is None


@pytest.mark.long
def test_what_is_excluded_is_not_migrated(terminal: Terminal, small: tuple[Place, Place]) -> None:
    source, target = small
    words = ["--database", source.name, "--mode", "full", "--exclude", "public.things"]
    done = terminal.run(*words, "--exclude", "sale.orders", "--name", "with a name too many")
    assert done.returncode == 2
    assert "sale.orders" in done.stderr
    assert "--exclude names what the source does not have" in done.stderr
    named = "SELECT status FROM migrations_app_migrationtask WHERE name = 'with a name too many'"
    assert terminal.installation.query(named) == [("check_passed",)]
    done = terminal.run(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert different(source, target, tables=["sales.parents", "sales.children"]) == []
    assert target.value("SELECT to_regclass('public.things')") is None


@pytest.mark.long
def test_a_selection_of_which_everything_is_excluded_is_not_called_misspelt(
    terminal: Terminal, small: tuple[Place, Place]
) -> None:
    source, target = small
    words = ["--exclude", "public.things", "--exclude", "sales"]
    done = terminal.run("--database", source.name, "--mode", "full", *words)
    assert "--exclude names what the source does not have" not in done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    assert target.value("SELECT to_regclass('public.things')") is None


@pytest.mark.long
def test_a_single_table_can_be_included(terminal: Terminal, small: tuple[Place, Place]) -> None:
    source, target = small
    done = terminal.run("--database", source.name, "--include", "public.things", "--complete")
    assert done.returncode == 0, done.stdout + done.stderr
    assert different(source, target, tables=["public.things"]) == []
    assert target.value("SELECT to_regclass('sales.parents')") is None
    nothing_of_ours(source, target, seconds=0)


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
def test_a_server_that_asks_for_no_password_gets_none(terminal: Terminal, trusting: Cluster) -> None:
    here = Terminal(terminal.installation, trusting, terminal.target)
    with database_pair(here, TABLES) as (source, target):
        done = here.run("--database", source.name, "--complete", source=trusting.uri(with_password=False))
        assert done.returncode == 0, done.stdout + done.stderr
        assert different(source, target) == []
        nothing_of_ours(source, target)


@pytest.mark.django_db
def test_a_list_without_tasks_says_how_to_create_one(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("task", "list")
    assert "task create --source URI --target URI" in capsys.readouterr().out


@pytest.mark.long
def test_a_run_that_was_killed_in_its_check_is_gone_on_with(terminal: Terminal, small: tuple[Place, Place]) -> None:
    def checking() -> bool:
        waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'public.things'::regclass AND NOT granted"
        return bool(holder.execute(waiting.encode()).fetchall()[0][0])

    words = ["--name", "killed", "--database", small[0].name, "--exclude", "sales"]
    words += ["--source", terminal.source.uri(), "--target", terminal.target.uri()]
    short = {"TOWPATH_LEASE_SECONDS": "5"}
    with small[0].connect() as holder, holder.transaction():
        holder.execute(b"LOCK TABLE public.things")  # the check waits for it some seconds
        process = terminal.installation.start("task", "run", *words, **short)
        try:
            wait_until(checking, 30, "the check")
        finally:
            process.kill()
            process.wait()
    task_id = re.findall(r"(\S+)  killed: Checking", terminal.task("list").stdout)
    assert task_id, "the check had ended before the kill"
    done = terminal.task("run", "--resume", *task_id, **short)
    assert done.returncode == 0, done.stdout + done.stderr
    with small[1].connect() as target:
        assert target.execute(b"SELECT count(*) FROM public.things").fetchone() == (50,)
        assert target.execute(b"SELECT to_regclass('sales.parents')").fetchone() == (None,)
    nothing_of_ours(*small, seconds=0)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_in_its_check_leaves_a_task_that_can_be_checked_again(
    terminal: Terminal, small: tuple[Place, Place], number: signal.Signals
) -> None:
    def checking() -> bool:
        waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'public.things'::regclass AND NOT granted"
        return bool(holder.execute(waiting.encode()).fetchall()[0][0])

    name = f"stopped by {number}"
    words = ["--name", name, "--database", small[0].name]
    words += ["--source", terminal.source.uri(), "--target", terminal.target.uri()]
    with small[0].connect() as holder, holder.transaction():
        holder.execute(b"LOCK TABLE public.things")
        process = terminal.installation.start("task", "run", *words)
        try:
            wait_until(checking, 30, "the check")
            process.send_signal(number)
            assert process.wait(20) == 130
        finally:
            process.kill()
            process.wait()
    assert "Traceback" not in terminal.installation.logs()
    (task_id,) = re.findall(rf"(\S+)  {name}: Check failed", terminal.task("list").stdout)
    assert terminal.task("check", task_id).returncode == 0
    nothing_of_ours(*small, seconds=0)
