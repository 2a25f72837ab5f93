"""Builds what the engine is told from a task's rows. The only place where passwords are opened."""

from __future__ import annotations

from django.conf import settings

from ..engine.plan import DatabasePlan, Plan, Server, TlsMode
from ..engine.selection import Selection
from ..models import Endpoint, MigrationTask, TaskDatabase


def server_of(endpoint: Endpoint | None) -> Server:
    """Return the address of an endpoint with its password opened. Raises UnreadableSecret."""
    if endpoint is None:
        raise ValueError("the task has no endpoint on this side")
    return Server(
        host=endpoint.host,
        port=endpoint.port,
        user=endpoint.account,
        password=str(endpoint.password),
        database=endpoint.database,
        tls=TlsMode(endpoint.tls_mode),
        ca_file=endpoint.ca_file,
    )


def build_plan(task: MigrationTask, databases: list[DatabasePlan] | None = None) -> Plan:
    """Return the plan of a task for its current epoch. Makes the task's private work folder."""
    work_dir = settings.WORK_DIR / task.id.hex
    work_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    if databases is None:
        rows = TaskDatabase.objects.filter(task=task)
        databases = [DatabasePlan(source_name=row.source_name, target_name=row.target_name) for row in rows]
    return Plan(
        key=task.key,
        epoch=task.epoch,
        source=server_of(task.source),
        target=server_of(task.target),
        databases=tuple(databases),
        selection=Selection.from_json(task.selection),
        incremental=task.incremental,
        work_dir=work_dir,
        copy_jobs=task.copy_jobs or settings.COPY_JOBS,
        index_jobs=task.copy_jobs or settings.INDEX_JOBS,
        connect_timeout_seconds=settings.CONNECT_TIMEOUT_SECONDS,
    )
