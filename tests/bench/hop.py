"""An SSH host in front of both servers: the system's own sshd, and its ssh for tools that know no SSH themselves."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
from pathlib import Path

from migrations_app.demo.clusters import Cluster, free_port
from tests.fakes import wait_until

_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PidFile none
PermitRootLogin prohibit-password
"""
_SECONDS = 20.0


class Hop:
    """sshd on a port of this machine, which lets in one key. Raises SystemExit where ssh and sshd are missing."""

    def __init__(self, folder: Path, clusters: list[Cluster]) -> None:
        sshd = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if sshd is None or shutil.which("ssh") is None:
            raise SystemExit("--ssh needs ssh and sshd (apt-get install openssh-server openssh-client)")
        folder.mkdir()
        self.key, self.known_hosts = folder / "user", folder / "known_hosts"
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        self.port = free_port()
        kind_and_key = (folder / "host.pub").read_text().split()[:2]
        self.known_hosts.write_text(" ".join([f"[127.0.0.1]:{self.port}", *kind_and_key]) + "\n")
        config = folder / "sshd_config"
        config.write_text(_CONFIG.format(port=self.port, folder=folder))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where root's sshd locks itself in
        self._processes = [subprocess.Popen([sshd, "-D", "-f", config], stderr=subprocess.DEVNULL)]
        _wait_for(self.port)
        self.ports = {cluster.port: free_port() for cluster in clusters}
        """The port of this machine at which `ssh -L` gives each server."""
        words = [f"-L{here}:127.0.0.1:{there}" for there, here in self.ports.items()]
        known = ["-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "IdentitiesOnly=yes"]
        at = ["-p", str(self.port), "-i", str(self.key), f"{getpass.getuser()}@127.0.0.1"]
        self._processes.append(subprocess.Popen(["ssh", "-F", "none", "-N", *words, *known, *at]))
        for here in self.ports.values():
            _wait_for(here)

    def options(self) -> list[str]:
        """Return what `task run` is told, to dial both servers from here."""
        place = f"{getpass.getuser()}@127.0.0.1:{self.port}"
        words = ["--known-hosts", str(self.known_hosts)]
        for side in ("source", "target"):
            words += [f"--{side}-ssh", place, f"--{side}-ssh-key", str(self.key)]
        return words

    def stop(self) -> None:
        """End both programs."""
        for process in self._processes:
            process.terminate()
            process.wait(_SECONDS)


def _wait_for(port: int) -> None:
    def answers() -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        return False

    wait_until(answers, _SECONDS, f"an answer at port {port}")
