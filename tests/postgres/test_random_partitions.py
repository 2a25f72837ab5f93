"""Random changes of partitions and of new tables, with random faults: the target ends as the source is.

What fails is made as small as it goes and written to `tests/regress` as SQL, where `test_regress.py` plays it again.
`TOWPATH_SEED` repeats a run, `TOWPATH_STREAMS` says how many streams a long one has.
"""

from __future__ import annotations

import pytest

from tests.postgres import stream_runs
from tests.postgres.random_streams import COLUMNS, PARTED, PARTITIONS, streams
from tests.postgres.stream_kit import Stage
from tests.postgres.stream_runs import MANY, SEED, explore

# Fixtures that stand there.
stage = stream_runs.stage
path = stream_runs.path

OF_PARTITIONS = streams(kinds=PARTED, words=(*PARTITIONS, *COLUMNS))
WITH_NEW_TABLES = streams(words=("new table", "partition", "attach table", *COLUMNS))


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
