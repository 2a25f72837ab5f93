"""The demo's world: made once, found again, removed without a trace, safe against a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations_app.demo import clusters
from migrations_app.demo.clusters import ClusterError, require_own
from migrations_app.demo.fingerprint import fingerprint, unlike
from migrations_app.demo.shop import table_counts
from migrations_app.demo.world import World, clean
from tests.fakes import wait_until

_PROJECT = Path(__file__).resolve().parents[2]
_START_AND_WAIT = """
import sys, time
from pathlib import Path
from migrations_app.demo.world import World
World(Path(sys.argv[1]), 0.001).start()
print("started", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world for the tests that do not restart it."""
    data_dir = tmp_path_factory.mktemp("running") / "demo"
    with World(data_dir / "world", 0.001) as world:
        yield world
    clean(data_dir)


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "demo"
    yield folder
    if folder.exists():
        clean(folder)


@pytest.mark.long
def test_a_second_start_finds_the_same_servers_with_the_same_rows(data_dir: Path) -> None:
    with World(data_dir / "world", 0.001) as world:
        first = world.endpoints()
        with world.source.connect("shop") as connection:
            connection.execute("DELETE FROM public.web_events WHERE id = 1")
            rows = table_counts(connection)
    with World(data_dir / "world", 0.001) as world:
        assert world.endpoints() == first
        with world.source.connect("shop") as connection:
            assert table_counts(connection) == rows


@pytest.mark.long
def test_servers_of_a_demo_whose_folder_was_deleted_and_made_anew_are_made_anew(data_dir: Path) -> None:
    with World(data_dir / "world", 0.001) as world:
        first = world.endpoints()
    (data_dir / "world" / "world.json").unlink()  # the servers' own files stand elsewhere when root has started them
    with World(data_dir / "world", 0.001) as world:
        assert world.endpoints()["source"].password != first["source"].password
        with world.source.connect("shop") as connection:
            assert table_counts(connection)
        with world.target.connect() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.long
def test_the_source_is_ready_for_incremental_sync_and_the_target_is_empty(running: World) -> None:
    with running.source.connect() as connection:
        assert connection.execute("SHOW wal_level").fetchone() == ("logical",)
        assert connection.info.server_version // 10000 == 16
    with running.target.connect() as connection:
        assert connection.info.server_version // 10000 == 18
        query = "SELECT datname FROM pg_database WHERE NOT datistemplate"
        assert connection.execute(query).fetchall() == [("postgres",)]


@pytest.mark.long
def test_a_load_that_was_cut_short_begins_anew(data_dir: Path) -> None:
    with World(data_dir / "world", 0.001) as world, world.source.connect("shop") as connection:
        connection.execute("DROP TABLE public.settings")
    state = data_dir / "world" / "world.json"
    content = json.loads(state.read_text())
    content["loaded"] = []
    state.write_text(json.dumps(content))
    with World(data_dir / "world", 0.001) as world, world.source.connect("shop") as connection:
        assert "public.settings" in table_counts(connection)


def test_passwords_stand_only_in_a_private_file(running: World) -> None:
    password = running.source.password
    state = next(Path(argument) for argument in running.writer_child().argv if argument.endswith("world.json"))
    assert state.stat().st_mode & 0o077 == 0
    assert password not in repr(running.endpoints())
    processes = [process for process in (running.source.process, running.target.process) if process]
    commands = [Path(f"/proc/{process.pid}/cmdline").read_text() for process in processes]
    assert [text for text in commands if password in text] == []


def test_the_writer_process_reports_what_it_committed(running: World) -> None:
    running.start_writer()
    with running.source.connect("shop") as connection:
        query = "SELECT 1 FROM audit.changes WHERE action = 'INSERT'"
        wait_until(lambda: connection.execute(query).fetchone(), what="a write")
    stats = running.stop_writer()
    assert stats.committed > 0
    assert stats.errors == ()


@pytest.mark.long
def test_a_killed_demo_leaves_no_server_and_starts_again(data_dir: Path) -> None:
    home = data_dir / "world"
    process = subprocess.Popen(
        [sys.executable, "-c", _START_AND_WAIT, str(home)], cwd=_PROJECT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with World(home, 0.001) as world, world.source.connect("shop") as connection:
        assert table_counts(connection)


@pytest.mark.long
def test_a_running_demo_cannot_be_removed(running: World) -> None:
    home = Path(running.writer_child().argv[-1]).parent
    with pytest.raises(ClusterError, match="runs already"):
        clean(home.parent)
    assert home.exists()


def test_removing_leaves_nothing(data_dir: Path) -> None:
    with World(data_dir / "world", 0.001) as world:
        servers = world.source.folder.parent
    clean(data_dir)
    assert not data_dir.exists()
    assert not servers.exists()


@pytest.mark.long
def test_a_copy_of_the_servers_programs_goes_with_the_demo(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "reachable_by_others", lambda folder: False)
    monkeypatch.setattr(clusters, "_shared", lambda: pytest.fail("the copy is the demo's own"))
    needed = os.geteuid() == 0  # only root's servers run as another account
    with World(data_dir / "world", 0.001) as world:
        servers = world.source.folder.parent
        running = [cluster.process for cluster in (world.source, world.target)]
        programs = [Path(f"/proc/{process.pid}/exe").resolve() for process in running if process]
        assert [servers in program.parents for program in programs] == [needed, needed]
    with World(data_dir / "world", 0.001):
        assert len(list(servers.glob("towpath-servers-*"))) == int(needed)  # the one that was there
    clean(data_dir)
    assert not servers.exists()


def test_what_a_demo_leaves_that_ended_well_is_removed(tmp_path: Path) -> None:
    home = tmp_path / "demo"
    home.mkdir()
    (home / "secret_key").touch()
    clean(home)
    assert not home.exists()


@pytest.mark.long
def test_servers_start_whatever_the_umask_is(data_dir: Path) -> None:
    before = os.umask(0o077)
    try:
        with World(data_dir / "world", 0.001) as world:
            assert world.source.connect("shop").close() is None
    finally:
        os.umask(before)


def test_a_folder_that_is_not_a_demo_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "console.sqlite3").touch()
    with pytest.raises(ClusterError, match="not the data folder of a demo"):
        clean(tmp_path)
    assert (tmp_path / "console.sqlite3").exists()


def test_a_folder_that_others_may_change_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(ClusterError, match="changed by others"):
        require_own(tmp_path)


def test_the_second_opinion_sees_one_changed_value_a_sequence_and_a_large_object(running: World) -> None:
    with running.source.connect("shop") as connection:
        before = fingerprint(connection)
        connection.execute("UPDATE sales.shipments SET weight = '-0' WHERE id = (SELECT min(id) FROM sales.shipments)")
        connection.execute("SELECT nextval('sales.invoice_number')")
        connection.execute("SELECT lo_put(min(oid), 3, 'x') FROM pg_largeobject_metadata")
        changed = ["large objects", "sales.invoice_number", "sales.shipments"]
        assert unlike(before, fingerprint(connection)) == changed
