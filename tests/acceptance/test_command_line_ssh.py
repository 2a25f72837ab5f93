"""`manage.py task run` with both servers behind an SSH host."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance import terminal_kit
from tests.acceptance.places import Place, nothing_of_ours
from tests.acceptance.terminal_kit import Terminal, different
from tests.bastions import PASSWORD, USER, ssh_host

# Fixtures that stand in the kit.
terminal = terminal_kit.terminal
small = terminal_kit.small


@pytest.mark.long
def test_a_migration_through_ssh_hosts_with_a_key_and_a_password(
    terminal: Terminal, small: tuple[Place, Place], tmp_path: Path
) -> None:
    source, target = (("127.0.0.1", cluster.port) for cluster in (terminal.source, terminal.target))
    with ssh_host(source) as here, ssh_host(target) as there:
        known, key = tmp_path / "known_hosts", tmp_path / "key"
        known.write_text("".join(f"[127.0.0.1]:{host.port} {host.host_key}\n" for host in (here, there)))
        key.write_text(here.private_key())
        key.chmod(0o600)
        ways = ["--source-ssh", f"{USER}@127.0.0.1:{here.port}", "--source-ssh-key", str(key)]
        ways += ["--target-ssh", f"{USER}@127.0.0.1:{there.port}", "--known-hosts", str(known)]
        words = ["--database", small[0].name, "--complete"]
        done = terminal.run(*words, *ways, TOWPATH_TARGET_SSH_PASSWORD=PASSWORD)
        assert done.returncode == 0, done.stdout + done.stderr
        assert {*here.forwards} == {source}
        assert {*there.forwards} == {target}
    assert PASSWORD not in done.stdout + done.stderr
    assert different(*small) == []
    nothing_of_ours(*small, seconds=0)
