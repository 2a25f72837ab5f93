"""A process of ours that crashes writes no core dump: its memory holds passwords."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.installation import ROOT, Installation

_LIMIT = "import json, resource; print(json.dumps(resource.getrlimit(resource.RLIMIT_CORE)))"
_ALLOWED = (
    "import os, resource, sys\n"
    "most = resource.getrlimit(resource.RLIMIT_CORE)[1]\n"
    "resource.setrlimit(resource.RLIMIT_CORE, (most, most))\n"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_CORE)[1] == 0, reason="no process here may write one anyway")
@pytest.mark.parametrize(
    "words",
    [
        [str(ROOT / "manage.py"), "shell", "-v0", "-c", _LIMIT],
        ["-c", f"import console.wsgi; {_LIMIT}"],
    ],
    ids=["command", "web"],
)
def test_no_process_may_write_a_core_dump(words: list[str], tmp_path: Path) -> None:
    environment = Installation(tmp_path).environment
    done = subprocess.run(
        [sys.executable, "-c", _ALLOWED, *words], capture_output=True, text=True, timeout=60, env=environment, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [0, 0]
