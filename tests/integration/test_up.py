"""`manage.py up`: what it refuses, what it starts, whom it takes for dead."""

from __future__ import annotations

import socket
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from migrations_app import queue
from migrations_app.management.commands.up import (
    PARTS,
    port_is_free,
    refuse_unfit_installation,
    silent_parts,
    stack,
)
from migrations_app.models import MigrationTask, WorkerBeat


def test_every_part_is_started_once_and_clusters_know_their_name() -> None:
    children = stack("127.0.0.1", 8600)
    assert tuple(child.name for child in children) == PARTS
    names = {child.env["Q_CLUSTER_NAME"] for child in children if "qcluster" in child.argv}
    assert names == set(queue.CLUSTERS)


def test_only_the_named_parts_are_started() -> None:
    assert [child.name for child in stack("127.0.0.1", 8600, ["sync", "web"])] == ["web", "sync"]


def test_an_ipv6_address_is_bound_in_brackets() -> None:
    (web,) = stack("::1", 8600, ["web"])
    assert "[::1]:8600" in web.argv


@pytest.mark.parametrize(("workers", "threads"), [(1, "8"), (3, "4")])
def test_the_web_server_has_as_many_processes_as_were_asked_for(workers: int, threads: str, settings: Settings) -> None:
    settings.WEB_WORKERS = workers
    (web,) = stack("127.0.0.1", 8600, ["web"])
    assert web.argv[web.argv.index("--workers") + 1] == str(workers)
    assert web.argv[web.argv.index("--threads") + 1] == threads


@pytest.mark.parametrize("only", ["web,workers", "", ","])
def test_an_unknown_part_is_refused(only: str) -> None:
    with pytest.raises(CommandError, match="--only takes parts of web, console, migrate, sync, dispatcher"):
        call_command("up", only=only)


def test_a_port_in_use_is_named_and_nothing_starts() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert not port_is_free("127.0.0.1", port)
        with pytest.raises(CommandError, match=f"port {port} on 127.0.0.1 is in use; choose another with --port"):
            call_command("up", port=port)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(CommandError, match="is not an address of this machine"):
        port_is_free("no such host", 8600)


@pytest.mark.django_db
def test_a_part_without_a_sign_of_life_for_a_minute_is_taken_for_dead() -> None:
    now, host = timezone.now(), socket.gethostname()[:120]
    for name in (*queue.CLUSTERS, "dispatcher"):
        WorkerBeat.objects.create(cluster=name, host=host, pid=1, at=now)
    WorkerBeat.objects.filter(cluster="sync").update(at=now - timedelta(seconds=90))
    assert silent_parts() == ["sync"]


@pytest.mark.django_db
def test_signs_of_life_of_another_host_do_not_count() -> None:
    for name in (*queue.CLUSTERS, "dispatcher"):
        WorkerBeat.objects.create(cluster=name, host="elsewhere", pid=1, at=timezone.now())
    assert silent_parts() == [*queue.CLUSTERS, "dispatcher"]


def test_the_makefile_offers_every_target_that_the_documents_name() -> None:
    text = (Path(__file__).resolve().parents[2] / "Makefile").read_text()
    for target in ("demo", "demo-clean", "up", "test", "lint", "test-faults", "bench", "help"):
        assert f"\n{target}: ## " in text


@pytest.mark.django_db
def test_up_refuses_to_start_when_a_stored_password_cannot_be_opened(draft: MigrationTask, settings: Settings) -> None:
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(CommandError, match="put the old key back"):
        refuse_unfit_installation()
