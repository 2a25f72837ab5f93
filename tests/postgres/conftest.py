"""Fixtures that several tests with real servers share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from migrations_app.engine.checks import run
from migrations_app.engine.checks.registry import ITEMS, Finding
from migrations_app.engine.plan import Plan
from tests import impostors, items_seen
from tests.postgres.engine_runs import make_plan
from tests.postgres.schema_kit import AWKWARD, ROWS

_ITEMS = dict(ITEMS)  # before any test puts something in an item's place


@pytest.fixture(scope="package", autouse=True)
def _items_seen(pytestconfig: pytest.Config) -> Iterator[None]:
    """Note what items find that a test asks for by name; an item that could not look has found nothing."""
    plugin, jobs_of = pytestconfig.pluginmanager.get_plugin(items_seen.NAME), run._jobs

    def noted(job: run._Job) -> run._Job:
        def look(*arguments: Any) -> Finding:
            finding = job.entry.look(*arguments)
            if job.entry.look is _ITEMS[job.entry.info.code].look and not impostors.one_pretends():
                plugin.note(job.entry.info.code, finding.status)
            return finding

        return replace(job, entry=replace(job.entry, look=look))

    def jobs(plan: Plan, only: frozenset[str] | None) -> list[run._Job]:
        return jobs_of(plan, only) if only is None else [noted(job) for job in jobs_of(plan, only)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_jobs", jobs)
        yield


@pytest.fixture
def awkward_db(source_cluster, source_db) -> str:
    with source_cluster.connect(source_db) as connection:
        connection.execute(AWKWARD)
        connection.execute("ALTER TABLE public.unready DROP CONSTRAINT later_valid")
        connection.execute(ROWS)
    return source_db


@pytest.fixture
def awkward_plan(source_cluster, target_cluster, awkward_db, target_db, tmp_path):
    return make_plan(source_cluster, target_cluster, [(awkward_db, target_db)], tmp_path, incremental=False)
