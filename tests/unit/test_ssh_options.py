"""SSH hosts on the command line: `--source-ssh`, its key, and by what the host is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asyncssh
import pytest
from django.core.management.base import CommandError

from migrations_app.engine.bastion import known_key
from migrations_app.management.cli import ssh
from migrations_app.services import EndpointData

SERVER = EndpointData(host="db.example", port=5432, account="mover")


def _line(kind: str = "ssh-ed25519") -> str:
    return " ".join(asyncssh.generate_private_key(kind).export_public_key().decode().split()[:2])


def _behind(tmp_path: Path, known_hosts: str, **options: str) -> EndpointData:
    file = tmp_path / "known_hosts"
    file.write_text(known_hosts)
    given: dict[str, Any] = {"source_ssh": "", "source_ssh_key": "", "known_hosts": str(file), **options}
    return ssh.behind(SERVER, given, "source")


def _key_file(tmp_path: Path, passphrase: str | None = None) -> str:
    file = tmp_path / "key"
    file.write_bytes(
        asyncssh.generate_private_key("ssh-ed25519").export_private_key(
            "pkcs8-pem" if passphrase else "openssh", passphrase
        )
    )
    file.chmod(0o600)
    return str(file)


def test_without_an_ssh_host_the_server_is_dialled_itself(tmp_path: Path) -> None:
    assert _behind(tmp_path, "") is SERVER


def test_a_host_is_taken_with_user_port_key_and_the_key_by_which_it_is_known(tmp_path: Path) -> None:
    line, key = _line(), _key_file(tmp_path)
    made = _behind(tmp_path, f"[jump.example]:2222 {line}\n", source_ssh="anna@jump.example:2222", source_ssh_key=key)
    assert (made.ssh_user, made.ssh_host, made.ssh_port, made.ssh_host_key) == ("anna", "jump.example", 2222, line)
    assert made.ssh_private_key == Path(key).read_text()
    assert made.ssh_password == ""
    assert "PRIVATE KEY" not in repr(made)


def test_the_password_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOWPATH_SOURCE_SSH_PASSWORD", "from-env")
    made = _behind(tmp_path, f"fe80::1 {_line()}\n", source_ssh="anna@[fe80::1]")
    assert (made.ssh_host, made.ssh_port, made.ssh_password) == ("fe80::1", 22, "from-env")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"source_ssh": "a@b@c"}, "takes"),
        ({"source_ssh": "jump:0"}, "takes"),
        ({"source_ssh": "jump:70000"}, "takes"),
        ({"source_ssh": "anna@jump"}, "TOWPATH_SOURCE_SSH_PASSWORD"),
        ({"source_ssh_key": "key"}, "needs --source-ssh"),
        ({"source_ssh": "anna@jump", "source_ssh_key": "/absent"}, "not exist"),
    ],
)
def test_what_cannot_be_used_is_told(options: dict[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=said):
        _behind(tmp_path, "", **options)


def test_a_key_with_a_passphrase_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="passphrase"):
        _behind(tmp_path, f"jump {_line()}\n", source_ssh="jump", source_ssh_key=_key_file(tmp_path, "secret words"))


def test_a_host_that_is_not_known_is_told_with_the_way_to_know_it(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="ssh-keyscan -p 2222 jump"):
        _behind(tmp_path, f"other {_line()}\n", source_ssh="jump:2222", source_ssh_key=_key_file(tmp_path))


def test_of_several_keys_the_one_is_taken_that_ssh_asks_for_first() -> None:
    first, second = _line("ssh-ed25519"), _line("ecdsa-sha2-nistp256")
    assert known_key(f"jump {second}\n# {first}\nno line of a key\njump {first}\n", "jump", 22) == first
    assert known_key(f"jump {second}\n", "jump", 22) == second


def test_a_revoked_key_is_not_taken() -> None:
    line = _line()
    assert known_key(f"jump {line}\n@revoked * {line}\n", "jump", 22) == ""
