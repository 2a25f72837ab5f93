"""Random schemas, random changes of rows and of tables, random faults: the target ends as the source is.

What fails is made as small as it goes and written to `tests/regress` as SQL, where `test_regress.py` plays it again.
`TOWPATH_SEED` repeats a run, `TOWPATH_STREAMS` says how many streams a long one has.
"""

from __future__ import annotations

import pytest

from tests.postgres import stream_runs
from tests.postgres.stream_kit import Stage
from tests.postgres.stream_runs import MANY, SEED, explore

# Fixtures that stand there.
stage = stream_runs.stage
path = stream_runs.path


@pytest.mark.sample(1)
def test_random_streams_end_equal(stage: Stage, path: str) -> None:
    seen = explore(stage, path, 6, SEED)
    assert seen["operations"] > 15


@pytest.mark.long
def test_many_random_streams_end_equal(stage: Stage, path: str) -> None:
    seen = explore(stage, path, MANY, SEED + 1)
    assert min(seen["stops"], seen["faults"]) > 0
