"""Random schemas, random changes of rows and of tables, random faults: the target ends as the source is.

What fails is made as small as it goes and written to `tests/regress` as SQL, where `test_regress.py` plays it again.
`TOWPATH_SEED` repeats a run, `TOWPATH_STREAMS` says how many streams a long one has.
"""

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
from tests.postgres.random_streams import COLUMNS, PARTED, PARTITIONS, Stream, Work, streams
from tests.postgres.stream_kit import Stage
from tests.postgres.stream_record import write_down
from tests.postgres.sync_kit import force_path

SEED = int(os.environ.get("TOWPATH_SEED", "1"))
MANY = int(os.environ.get("TOWPATH_STREAMS", "120"))
OF_PARTITIONS = streams(kinds=PARTED, words=(*PARTITIONS, *COLUMNS))
WITH_NEW_TABLES = streams(words=("new table", "partition", "attach table", *COLUMNS))


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
            except Exception as error:
                print(write_down(player.record, f"found_by_{path}", error))
                raise
        seen["operations"] += sum(len(step.ops) for step in stream.steps if isinstance(step, Work))
        seen.update(player.operator.answers)
        seen.update(streams=1, stops=len(player.operator.stops), faults=player.faults)

    one()
    print(dict(seen))
    return seen


@pytest.mark.sample(1)
def test_random_streams_end_equal(stage: Stage, path: str) -> None:
    seen = explore(stage, path, 6, SEED)
    assert seen["operations"] > 15


@pytest.mark.long
def test_many_random_streams_end_equal(stage: Stage, path: str) -> None:
    seen = explore(stage, path, MANY, SEED + 1)
    assert min(seen["stops"], seen["faults"]) > 0


@pytest.mark.long
def test_random_streams_of_partitions_end_equal(stage: Stage, path: str) -> None:
    explore(stage, path, 3, SEED + 2, OF_PARTITIONS)


@pytest.mark.long
def test_many_random_streams_of_partitions_end_equal(stage: Stage, path: str) -> None:
    seen = explore(stage, path, MANY // 2, SEED + 3, OF_PARTITIONS)
    wanted = ("Apply and resume", "Copy again, a partition", "Drop from task", "Add")
    for more in range(10, 60, 10):  # seldom is a partition a new table of its own, in a stream that adds such tables
        if all(seen[one] for one in wanted):
            break
        seen += explore(stage, path, MANY // 6, SEED + 3 + more, OF_PARTITIONS)
    assert min(seen[one] for one in wanted) > 0


@pytest.mark.sample(1)
def test_random_streams_with_new_tables_end_equal(stage: Stage, path: str) -> None:
    explore(stage, path, 3, SEED + 4, WITH_NEW_TABLES)


@pytest.mark.long
def test_many_random_streams_with_new_tables_end_equal(stage: Stage, path: str) -> None:
    seen = explore(stage, path, MANY // 2, SEED + 5, WITH_NEW_TABLES)
    assert min(seen[one] for one in ("Add", "Ignore", "Apply and resume", "Copy again")) > 0
