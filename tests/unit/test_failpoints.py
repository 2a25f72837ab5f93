"""Failpoints: off unless a test says otherwise, and then exactly what was ordered happens, once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from migrations_app.engine import failpoints
from migrations_app.engine.errors import ConnectionLost
from migrations_app.engine.failpoints import Act, Moment, Shot, arm, armed, durable, go_on, permit
from tests.fakes import wait_until

POINT = "target.flush"
ROOT = Path(__file__).parents[2]
CODE = f"""
from migrations_app.engine.failpoints import durable
@durable({POINT!r}, "detail")
def act():
    print("done", flush=True)
act(); act(); print("end", flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "orders"
    permit(made)
    return made


@pytest.fixture
def on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(failpoints, "_FOLDER", folder)
    return folder


def run(folder: Path | str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, failpoints.VARIABLE: str(folder)}
    return subprocess.run([sys.executable, "-c", CODE], env=environment, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("moment", "hit", "seen"),
    [
        (Moment.BEFORE, 1, ""),
        (Moment.DONE, 1, "done\n"),
        (Moment.BEFORE, 2, "done\n"),
        (Moment.DONE, 2, "done\ndone\n"),
    ],
)
def test_a_process_is_killed_at_the_ordered_hit(folder: Path, moment: Moment, hit: int, seen: str) -> None:
    arm(folder, Shot(POINT, moment, hit=hit, detail="detail"))
    ended = run(folder)
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, seen)
    assert armed(folder) == []


@pytest.mark.parametrize("detail", ["another", "detai"])
def test_an_order_for_another_detail_is_not_carried_out(folder: Path, detail: str) -> None:
    arm(folder, Shot(POINT, detail=detail))
    assert run(folder).stdout == "done\ndone\nend\n"
    assert armed(folder) == [Shot(POINT, detail=detail)]


def test_an_order_is_carried_out_once(folder: Path) -> None:
    arm(folder, Shot(POINT))
    assert [run(folder).returncode for _ in range(2)] == [-signal.SIGKILL, 0]


def _without_permit(folder: Path) -> None:
    (folder / "permit").unlink()


def _of_everybody(folder: Path) -> None:
    folder.chmod(0o755)


def _with_another_text(folder: Path) -> None:
    (folder / "permit").write_text("yes")


@pytest.mark.parametrize("spoil", [_without_permit, _of_everybody, _with_another_text])
def test_a_folder_that_no_test_has_made_is_ignored_with_a_warning(folder: Path, spoil: Callable[[Path], None]) -> None:
    arm(folder, Shot(POINT))
    spoil(folder)
    ended = run(folder)
    assert (ended.returncode, ended.stdout) == (0, "done\ndone\nend\n")
    assert "TOWPATH_FAILPOINTS is ignored" in ended.stderr


def test_a_folder_that_is_not_there_is_ignored_with_a_warning(tmp_path: Path) -> None:
    ended = run(tmp_path / "nowhere")
    assert (ended.returncode, "is ignored" in ended.stderr) == (0, True)


def test_without_a_folder_nothing_is_looked_at_or_told() -> None:
    ended = run("")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\ndone\nend\n", "")


def test_off_a_decorated_function_is_the_function_itself() -> None:
    def act() -> None: ...

    assert durable(POINT)(act) is act


def test_a_lost_connection_is_raised_and_what_follows_goes_well(on: Path) -> None:
    arm(on, Shot(POINT, Moment.DONE, Act.LOSE))
    with pytest.raises(ConnectionLost) as caught, durable(POINT):
        pass
    assert caught.value.retryable
    with durable(POINT):
        pass


def test_a_pause_lasts_until_it_is_told_to_end(on: Path) -> None:
    arm(on, Shot(POINT, Moment.BEFORE, Act.PAUSE))
    passed = threading.Event()

    def act() -> None:
        with durable(POINT):
            passed.set()

    thread = threading.Thread(target=act)
    thread.start()
    wait_until(lambda: armed(on) == [], what="the pause")
    assert not passed.is_set()
    go_on(on)
    thread.join(10)
    assert passed.is_set()


def test_what_fails_is_not_done(on: Path) -> None:
    arm(on, Shot(POINT, Moment.DONE, Act.LOSE))
    with pytest.raises(ZeroDivisionError), durable(POINT):
        raise ZeroDivisionError
    assert armed(on) == [Shot(POINT, Moment.DONE, Act.LOSE)]


def test_a_point_that_is_not_listed_is_refused(on: Path) -> None:
    with pytest.raises(ValueError, match="no failpoint nowhere"):
        durable("nowhere")
    with pytest.raises(ValueError, match="no failpoint nowhere"):
        arm(on, Shot("nowhere"))
