"""`manage.py task access`: what Change access does, with secrets that are never words of the command."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from migrations_app import clock, services
from migrations_app.demo.clusters import Cluster
from migrations_app.management.commands.task import Command
from migrations_app.models import AuditEntry, ConnectionTest, Endpoint, Event, MigrationTask, WorkerBeat
from tests import factories
from tests.certificates import Authority

pytestmark = pytest.mark.django_db
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG8ZPFJoJ0Kc0Wl6gBP2cJtmAb5fDwZ1vNEeVxHcSm9K"
SSH = {"ssh_host": "jump.internal", "ssh_user": "u", "ssh_password": "sshcanary", "ssh_host_key": "ssh-ed25519 AAAA"}
SECRET = "a new canary"


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for side in ("SOURCE", "TARGET"):
        for name in (f"TOWPATH_{side}_PASSWORD", f"TOWPATH_{side}_SSH_PASSWORD"):
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.stdin", StringIO(""))


def _task(status: str = "failed", **endpoint: Any) -> MigrationTask:
    task = factories.running_task("sync", status=status, source=factories.endpoint(**endpoint))
    factories.ledger_entry(task)
    return task


def _source(task: MigrationTask) -> Endpoint:
    source = MigrationTask.objects.get(pk=task.pk).source
    assert source is not None
    return source


def _access(task: MigrationTask, *words: str, side: str = "source") -> str:
    out = StringIO()
    call_command("task", "access", str(task.pk), side, *words, stdout=out, stderr=out)
    return out.getvalue()


def _given(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the new password in one of the ways in which that is possible."""
    if how == "environment":
        monkeypatch.setenv("TOWPATH_SOURCE_PASSWORD", SECRET)
    elif how == "stdin":
        monkeypatch.setattr("sys.stdin", StringIO(f"{SECRET}\nand no more\n"))
    else:
        monkeypatch.setattr("sys.stdin.isatty", lambda: True)
        monkeypatch.setattr("getpass.getpass", lambda prompt: SECRET)


@pytest.mark.parametrize("status", ["failed", "paused"])
@pytest.mark.parametrize("how", ["environment", "stdin", "terminal"])
def test_a_new_password_is_stored_and_told_without_its_value(
    how: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = _task(status)
    _given(how, monkeypatch)
    said = _access(task, "--password")
    assert "Access to the source changed: password." in said
    assert _source(task).password == SECRET
    told = Event.objects.get(task=task, code="TASK-ACCESS").message
    entry = AuditEntry.objects.get(action="tasks:access")
    assert (entry.actor, entry.subject, entry.message) == ("command line", task.name, told)
    assert SECRET not in said + told
    task.refresh_from_db()
    assert task.status == status


def test_what_was_changed_while_a_secret_was_typed_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    task = _task(tls_mode="require")

    def typed(_prompt: str) -> str:
        services.change_access(
            task_id=task.pk,
            actor=None,
            side="source",
            access=services.Access(account="mover", tls_mode="verify-full", password="typed on the page"),
        )
        return SECRET

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", typed)
    assert "changed: password." in _access(task, "--password")
    source = _source(task)
    assert (source.account, source.tls_mode, source.password) == ("mover", "verify-full", SECRET)


def test_a_password_in_the_environment_alone_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    task = _task(tls_mode="require")
    _given("environment", monkeypatch)
    _access(task, "--tls", "verify-full")
    assert (_source(task).password, _source(task).tls_mode) == (factories.CANARY, "verify-full")


def test_both_secrets_come_as_lines_of_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    task = _task(**SSH)
    monkeypatch.setattr("sys.stdin", StringIO("of the server\nof the ssh host\n"))
    _access(task, "--user", "mover", "--password", "--ssh-user", "jumper", "--ssh-password")
    source = _source(task)
    assert (source.account, source.password) == ("mover", "of the server")
    assert (source.ssh_user, source.ssh_password) == ("jumper", "of the ssh host")


def test_certificates_and_the_key_of_an_ssh_host_come_from_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    pair, known, task = authority.issue("mover"), tmp_path / "known", _task(**SSH)
    known.write_text(f"jump.internal {HOST_KEY}\n")
    pair.key.chmod(0o600)
    monkeypatch.setattr("sys.stdin", StringIO("one\ntwo\n"))
    files = ["--ca", str(authority.file), "--certificate", str(pair.cert), "--certificate-key", str(pair.key)]
    said = _access(task, *files, "--known-hosts", str(known), "--password", "--ssh-password")
    source = _source(task)
    assert (source.client_cert_pem, source.client_key_pem) == (pair.cert.read_text(), pair.key.read_text())
    assert (source.ca_pem, source.ssh_host_key) == (authority.file.read_text(), HOST_KEY)
    assert "BEGIN" not in said
    monkeypatch.setattr("sys.stdin", StringIO("one\n"))
    _access(task, "--no-certificate", "--no-ca", "--password")
    source = _source(task)
    assert (source.client_cert_pem, source.client_key_pem, source.ca_pem) == ("", "", "")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "Give what changes"),
        (["--password"], "give it in TOWPATH_SOURCE_PASSWORD"),
        (["--user", "another"], "Enter the password"),
        (["--host", "a,b"], "one name or address"),
        (["--host", "another.internal"], "cannot change any more"),
        (["--port", "0"], "from 1 to 65535"),
        (["--ssh-password"], "SSH password of the source"),
        (["--known-hosts", "x"], "No SSH host stands before"),
        (["--certificate", "x"], "go together"),
        (["--certificate-key", "x"], "go together"),
        (["--ca", "/nowhere"], "cannot be read"),
        (["--ca", __file__], "certificates in PEM format"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_refused_and_nothing_is_stored(words: list[str], why: str) -> None:
    task = _task()
    before = Endpoint.objects.values().get(pk=_source(task).pk)
    with pytest.raises(CommandError, match=why):
        _access(task, *words)
    assert Endpoint.objects.values().get(pk=_source(task).pk) == before
    assert not Event.objects.filter(task=task, code="TASK-ACCESS").exists()


def test_a_key_of_another_certificate_is_refused_and_so_is_one_that_others_can_read(tmp_path: Path) -> None:
    authority, task = Authority(tmp_path), _task()
    one, other = authority.issue("mover"), authority.issue("another")
    words = ["--certificate", str(one.cert), "--certificate-key", str(other.key)]
    other.key.chmod(0o644)
    with pytest.raises(CommandError, match="can be read by others"):
        _access(task, *words)
    other.key.chmod(0o600)
    with pytest.raises(CommandError, match="does not belong to the certificate"):
        _access(task, *words)


@pytest.mark.parametrize("status", ["running", "ready", "completed"])
def test_only_a_task_that_stands_still_is_changed(status: str) -> None:
    task = _task(status)
    with pytest.raises(CommandError, match=r"failed or paused|has completed"):
        _access(task, "--tls", "verify-full")


def test_the_way_is_tested_and_another_server_is_told(source_cluster: Cluster) -> None:
    way = {"host": "127.0.0.1", "port": source_cluster.port, "account": "postgres", "tls_mode": "disable"}
    task = _task(**way, password=source_cluster.password)
    assert "source: PostgreSQL" in _access(task, "--test")
    task.databases.update(system_id="7000000000000000001")
    out = StringIO()
    with pytest.raises(SystemExit) as left:
        call_command("task", "access", str(task.pk), "source", "--test", stdout=out)
    assert left.value.code == 1
    assert "ANOTHER-SERVER: This is not the source" in out.getvalue()


@pytest.mark.parametrize("foreground", [False, True])
def test_the_way_is_tested_by_whoever_goes_on_with_the_task(foreground: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    task = _task(host="127.0.0.1", port=1, tls_mode="disable")
    MigrationTask.objects.filter(pk=task.pk).update(foreground=foreground)
    WorkerBeat.objects.create(cluster="console", host="here", pid=1, at=clock.now())
    monkeypatch.setattr("migrations_app.runner.planning._command_line", False)

    def by_a_worker(_seconds: float) -> None:
        ConnectionTest.objects.update(state="failed", code="POLICY-DENIED", message="A worker may not.")

    monkeypatch.setattr("time.sleep", by_a_worker)
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("task", "access", str(task.pk), "source", "--test", stdout=out)
    assert ("A worker may not." in out.getvalue()) == (not foreground)


def test_a_task_of_a_terminal_goes_on_there(monkeypatch: pytest.MonkeyPatch) -> None:
    task = _task()
    MigrationTask.objects.filter(pk=task.pk).update(foreground=True)
    _given("stdin", monkeypatch)
    assert f"task run --resume {task.pk}" in _access(task, "--password")


@pytest.mark.parametrize(
    "words",
    [
        ["source", "--password", SECRET],
        ["source", f"--password={SECRET}"],
        ["--password", SECRET, "source"],
        ["source", "--passw", SECRET],
        ["source", "--passwrod", SECRET],
        ["source", "--ssh-password", SECRET],
        ["source", "--ssh-pass", SECRET, "--tls", "verify-full"],
    ],
    ids=" ".join,
)
def test_a_secret_that_is_typed_as_a_word_is_refused_and_not_repeated(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOWPATH_SOURCE_PASSWORD", "of the environment")
    task = _task()
    with pytest.raises(CommandError, match="not repeated") as refused:
        call_command("task", "access", str(task.pk), *words)
    assert SECRET not in str(refused.value)
    with pytest.raises(SystemExit) as left:
        Command().run_from_argv(["manage.py", "task", "access", str(task.pk), *words])
    assert left.value.code == 1
    told = capsys.readouterr()
    assert "not repeated" in told.err
    assert SECRET not in told.out + told.err
    assert _source(task).password == factories.CANARY


def test_other_words_that_make_no_sense_are_named() -> None:
    with pytest.raises(CommandError, match="--ports"):
        _access(_task(), "--ports", "5432")
