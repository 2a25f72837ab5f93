"""Runs random streams one after the other: the fixtures, and what is done with one that fails."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from migrations_app.demo.clusters import Cluster
from tests.conftest import _database as new_database
from tests.faults.proxy import fault_proxy
from tests.postgres.random_streams import Stream, Work, streams
from tests.postgres.stream_kit import Stage, Undecodable
from tests.postgres.stream_record import write_down
from tests.postgres.sync_kit import force_path

SEED = int(os.environ.get("TOWPATH_SEED", "1"))
MANY = int(os.environ.get("TOWPATH_STREAMS", "120"))


@pytest.fixture(scope="module")
def stage(
    source_cluster: Cluster, target_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    database = contextlib.contextmanager(new_database)
    with (
        database(source_cluster) as one,
        database(target_cluster) as other,
        fault_proxy(source_cluster.port, SEED) as before_source,
        fault_proxy(target_cluster.port, SEED) as before_target,
    ):
        proxies = {"source": before_source, "target": before_target}
        yield Stage(source_cluster, target_cluster, one, other, proxies, tmp_path_factory.mktemp("streams"))


@pytest.fixture(params=["rows", "batches"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    force_path(monkeypatch, request.param)
    return str(request.param)


def explore(
    stage: Stage, path: str, count: int, number: int, made: SearchStrategy[Stream] | None = None
) -> Counter[str]:
    """Play so many streams, any or of those `made`, and return what happened in them.

    Fails with the smallest one that does not end equal.
    """
    print(f"seed {number}, {count} streams by {path}")
    seen: Counter[str] = Counter()

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(streams() if made is None else made)
    def one(stream: Stream) -> None:
        with stage.play(stream.options) as player:
            try:
                player.whole(stream)
            except Undecodable:
                seen["undecodable"] += 1
                return
            except Exception as error:
                print(write_down(player.record, f"found_by_{path}", error))
                raise
        seen["operations"] += sum(len(step.ops) for step in stream.steps if isinstance(step, Work))
        seen.update(player.operator.answers)
        seen.update(streams=1, stops=len(player.operator.stops), faults=player.faults)

    one()
    print(dict(seen))
    assert seen["undecodable"] <= max(1, count // 20)
    return seen
