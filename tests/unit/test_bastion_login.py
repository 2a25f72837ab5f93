"""How the engine signs in at an SSH host: with what the task says, and nothing of the account that it runs as."""

from __future__ import annotations

import asyncssh
import pytest

from migrations_app.engine.bastion import _login
from migrations_app.engine.plan import Bastion


def test_a_home_folder_that_cannot_be_read_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/" + "x" * 300)  # a name that no file system takes: it cannot be looked into
    login = _login(Bastion(host="ssh.example", port=22, user="anna", password="secret", host_key=""))
    assert asyncssh.SSHClientConnectionOptions(**login).username == "anna"
