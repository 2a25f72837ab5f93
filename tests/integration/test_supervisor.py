"""The supervisor with real processes: restarts, orphans, clean and forced stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from migrations_app.supervisor import STOP_FILE_VARIABLE, Child, Supervisor
from tests.fakes import wait_until

_PROJECT = Path(__file__).resolve().parents[2]
_FOREVER = "import time\nwhile True: time.sleep(60)\n"
_PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open({path!r} + ".new", "w") as file: file.write(str(child.pid))
import os; os.replace({path!r} + ".new", {path!r})
child.wait()
"""
_DEAF = (
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\ntime.sleep(600)\n"
)


class Impatient(Supervisor):
    """Waits a tenth of the usual time before a restart."""

    _first_backoff_seconds = 0.1


def python(name: str, code: str, **env: str) -> Child:
    return Child(name=name, argv=[sys.executable, "-c", textwrap.dedent(code)], env=env)


def alive(pid: int) -> bool:
    """A zombie that waits for init counts as dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def supervise() -> Iterator[Callable[..., Supervisor]]:
    made: list[Supervisor] = []

    def start(children: Sequence[Child], **options: Any) -> Supervisor:
        supervisor = Impatient(children, **{"grace_seconds": 5, "say": lambda _: None, **options})
        made.append(supervisor)
        supervisor.start()
        return supervisor

    yield start
    for supervisor in made:
        supervisor.request_stop()
        supervisor.stop()


def _until(supervisor: Supervisor, condition: Callable[[], Any], what: str = "the condition") -> Any:
    def look() -> Any:
        supervisor.tick()
        return condition()

    return wait_until(look, what=what)


def _read_pid(path: Path) -> int:
    return int(path.read_text()) if path.exists() else 0


def test_a_child_that_was_killed_is_started_again(supervise: Callable[..., Supervisor]) -> None:
    supervisor = supervise([python("worker", _FOREVER)])
    first = supervisor.pids()["worker"]
    os.kill(first, signal.SIGKILL)
    _until(supervisor, lambda: supervisor.pids().get("worker", first) != first, "a new process")


def test_what_a_killed_child_had_started_ends_before_the_restart(
    supervise: Callable[..., Supervisor], tmp_path: Path
) -> None:
    path = tmp_path / "pid"
    supervisor = supervise([python("cluster", _PARENT.format(path=str(path)))])
    orphan = wait_until(lambda: _read_pid(path))
    main = supervisor.pids()["cluster"]
    os.kill(main, signal.SIGKILL)
    _until(supervisor, lambda: supervisor.pids().get("cluster", main) != main)
    assert not alive(orphan)


def test_the_wait_before_a_restart_doubles_each_time(supervise: Callable[..., Supervisor]) -> None:
    lines: list[str] = []
    supervisor = supervise([python("broken", "raise SystemExit(3)")], say=lines.append)
    slot = supervisor._slots["broken"]
    _until(supervisor, lambda: slot.backoff >= 4)
    assert any("ended with code 3, starting again in" in line for line in lines)


def test_a_long_healthy_life_resets_the_wait(supervise: Callable[..., Supervisor]) -> None:
    supervisor = supervise([python("worker", _FOREVER)])
    slot = supervisor._slots["worker"]
    slot.backoff = 30
    slot.started -= 61
    os.kill(supervisor.pids()["worker"], signal.SIGKILL)
    _until(supervisor, lambda: slot.backoff < 1)


def test_a_child_that_the_watch_names_is_replaced(supervise: Callable[..., Supervisor]) -> None:
    hanging: list[str] = []
    supervisor = supervise([python("sync", _FOREVER)], watch=lambda: hanging, watch_seconds=0)
    first = supervisor.pids()["sync"]
    hanging.append("sync")
    supervisor.tick()
    assert supervisor.pids()["sync"] == first, "a new child gets time to begin"
    supervisor._slots["sync"].started -= 61
    supervisor.tick()
    hanging.clear()
    assert not alive(first)
    _until(supervisor, lambda: supervisor.pids().get("sync", first) != first)


def test_a_watch_that_fails_does_not_end_the_supervisor(supervise: Callable[..., Supervisor]) -> None:
    def watch() -> list[str]:
        raise RuntimeError("database is locked")

    lines: list[str] = []
    supervisor = supervise([python("web", _FOREVER)], watch=watch, watch_seconds=0, say=lines.append)
    supervisor.tick()
    assert lines == ["towpath: the watch failed (RuntimeError)"]
    assert "web" in supervisor.pids()


def test_a_stop_ends_children_and_grandchildren_within_the_grace_time(
    supervise: Callable[..., Supervisor], tmp_path: Path
) -> None:
    path = tmp_path / "pid"
    supervisor = supervise([python("cluster", _PARENT.format(path=str(path))), python("web", _FOREVER)])
    orphan = wait_until(lambda: _read_pid(path))
    pids = supervisor.pids().values()
    assert supervisor.stop() is True
    assert [pid for pid in (*pids, orphan) if alive(pid)] == []


def test_a_child_that_ignores_the_stop_is_killed_when_the_grace_time_is_over(
    supervise: Callable[..., Supervisor],
) -> None:
    lines: list[str] = []
    supervisor = supervise([python("deaf", _DEAF)], grace_seconds=0.3, say=lines.append)
    wait_until(lambda: "deaf: deaf" in lines)
    pid = supervisor.pids()["deaf"]
    assert supervisor.stop() is False
    assert not alive(pid)
    assert lines[-1] == "towpath: ended by force: deaf"


def test_a_stop_makes_the_stop_file_that_children_were_told_of(
    supervise: Callable[..., Supervisor], tmp_path: Path
) -> None:
    lines: list[str] = []
    stop_file = tmp_path / "stop"
    stop_file.touch()
    code = f"""
        import os, signal, sys, time
        path = os.environ["{STOP_FILE_VARIABLE}"]
        # No print: the signal may come while the one below is not back yet.
        signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b"%r\\n" % os.path.exists(path)), sys.exit()))
        print(os.path.exists(path), flush=True)
        time.sleep(600)
    """
    supervisor = supervise([python("worker", code)], stop_file=stop_file, say=lines.append)
    assert not stop_file.exists()
    wait_until(lambda: lines == ["worker: False"])
    supervisor.stop()
    wait_until(lambda: lines == ["worker: False", "worker: True"])
    assert not stop_file.exists()


def test_output_goes_to_one_private_file_per_child(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    supervisor = supervise([python("web", "print('hello', flush=True)\n" + _FOREVER)], logs=tmp_path / "logs")
    log = tmp_path / "logs" / "web.log"
    wait_until(lambda: log.exists() and log.read_text() == "hello\n")
    assert log.stat().st_mode & 0o077 == 0
    supervisor.stop()


def test_a_program_that_does_not_exist_leaves_nothing_running(tmp_path: Path) -> None:
    supervisor = Supervisor(
        [python("web", _FOREVER), Child("typo", [str(tmp_path / "none")])], say=lambda _: None, grace_seconds=5
    )
    with pytest.raises(FileNotFoundError):
        supervisor.start()
    assert supervisor.pids() == {}


_RUN = """
import sys
from pathlib import Path
from migrations_app.supervisor import Child, Supervisor
child = Child("worker", [sys.executable, "-c", {code!r}])
raise SystemExit(Supervisor([child], grace_seconds={grace}).run())
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    made: list[subprocess.Popen[str]] = []

    def start(code: str, grace: float = 10) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", _RUN.format(code=code, grace=grace)],
            cwd=_PROJECT,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        made.append(process)
        return process

    yield start
    for process in made:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_everything_cleanly(
    number: signal.Signals, running: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    path = tmp_path / "pid"
    process = running(_PARENT.format(path=str(path)))
    orphan = wait_until(lambda: _read_pid(path))
    process.send_signal(number)
    assert process.wait(10) == 0
    wait_until(lambda: not alive(orphan))


def test_a_second_ctrl_c_ends_the_patience(running: Callable[..., subprocess.Popen[str]]) -> None:
    process = running(_DEAF, grace=60)
    assert process.stdout is not None
    assert process.stdout.readline() == "worker: deaf\n"
    process.send_signal(signal.SIGINT)
    started = sent = time.monotonic()

    def again() -> bool:
        nonlocal sent
        if time.monotonic() - sent > 1:  # not a burst: one more must not meet the interpreter at its end
            sent = time.monotonic()
            process.send_signal(signal.SIGINT)
        return process.poll() is not None

    wait_until(again, seconds=10)
    assert process.returncode == 1
    assert time.monotonic() - started < 10


def test_children_and_grandchildren_end_when_the_supervisor_is_killed(
    running: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    path = tmp_path / "pid"
    process = running(_PARENT.format(path=str(path)))
    orphan = wait_until(lambda: _read_pid(path))
    process.kill()
    wait_until(lambda: not alive(orphan), seconds=10, what="the end of the orphan")


def test_two_children_cannot_share_a_name() -> None:
    with pytest.raises(ValueError, match="same name"):
        Supervisor([python("web", ""), python("web", "")])
