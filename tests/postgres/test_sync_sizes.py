"""Values of hundreds of megabytes in the sync: they pass, in memory that they set the measure for, or are refused."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.errors import SourceError
from tests.postgres.sync_kit import Pair

ROOT = Path(__file__).parents[2]
OF_ITS_OWN = 200_000_000
"""What the engine may need beside the values."""
COPIES = 4
"""How often a change is in memory at most: as it comes, as one piece, as a parameter, and in what libpq sends."""
EXTERNAL = "CREATE TABLE t (id int PRIMARY KEY, n int, v {kind}); ALTER TABLE t ALTER v SET STORAGE EXTERNAL"
LENGTHS = "SELECT string_agg(concat_ws(' ', id, n, octet_length(v), md5(v)), ',' ORDER BY id) FROM t"
LARGE = 320_000_000

pytestmark = pytest.mark.long


@pytest.fixture
def pair(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Pair:
    return Pair(source_cluster, target_cluster, source_db, target_db)


def peak_bytes(pair: Pair) -> int:
    """Bring the target up to date in a process of its own; return the most memory that this had at any moment."""
    pair.epoch += 1
    state = (pair.plan(), pair.store.databases, pair.store.table_rows)
    done = subprocess.run(
        [sys.executable, "-m", "tests.postgres.sync_worker", "peak", str(pair.insert_lsn())],
        input=pickle.dumps(state),
        capture_output=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return int(done.stdout.split()[-1]) * 1024


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        pytest.param("bytea", "convert_to(repeat('{mark}', {size}), 'UTF8')", id="bytea"),
        pytest.param("text", "repeat('{mark}', {size})", id="text"),
    ],
)
def test_a_value_of_hundreds_of_megabytes_passes_and_is_left_alone_by_other_changes(
    pair: Pair, kind: str, value: str
) -> None:
    pair.build(EXTERNAL.format(kind=kind))
    pair.catch_up()  # the target has its bookmark, and the workers know of it
    pair.at_source(f"INSERT INTO t VALUES (1, 0, {value.format(mark='x', size=LARGE)}), (2, 0, 'small')")
    assert peak_bytes(pair) < COPIES * LARGE + OF_ITS_OWN
    assert pair.value(LENGTHS, "target") == pair.value(LENGTHS)
    pair.at_source("UPDATE t SET n = 1")
    assert peak_bytes(pair) < OF_ITS_OWN, "the value that nobody changed came once more"
    assert pair.value(LENGTHS, "target") == pair.value(LENGTHS)
    pair.at_source(f"UPDATE t SET v = {value.format(mark='y', size=LARGE)} WHERE id = 2", "DELETE FROM t WHERE id = 1")
    pair.catch_up()
    assert pair.value(LENGTHS, "target") == pair.value(LENGTHS)


def test_a_large_value_of_a_row_without_a_key_finds_it(pair: Pair) -> None:
    pair.build("CREATE TABLE t (id int, n int, v text); ALTER TABLE t REPLICA IDENTITY FULL")
    pair.at_source(f"INSERT INTO t VALUES (1, 0, repeat('x', {LARGE})), (2, 0, repeat('x', {LARGE}) || 'y')")
    pair.catch_up()
    pair.at_source("UPDATE t SET n = 5 WHERE id = 2", "DELETE FROM t WHERE id = 1")
    pair.catch_up()
    assert pair.value(LENGTHS, "target") == pair.value(LENGTHS)


def test_a_value_that_the_stream_cannot_send_is_refused_with_its_row(pair: Pair) -> None:
    """One type without a binary form, and everything travels as text, a bytea at twice its length."""
    pair.build(EXTERNAL.format(kind="bytea") + "; CREATE TABLE only_text (id int PRIMARY KEY, acl aclitem)")
    pair.at_source("INSERT INTO t VALUES (1, 0, 'small'), (7, 0, convert_to(repeat('x', 600000000), 'UTF8'))")
    with pytest.raises(SourceError, match=r"A row of public\.t \(7\) takes 1200 MB") as caught:
        pair.catch_up()
    assert caught.value.code == "SRC-TOOBIG"
    assert not caught.value.retryable
    assert "new copy" in caught.value.hint
