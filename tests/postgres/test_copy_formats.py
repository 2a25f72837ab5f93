"""In which format the values of each kind of type travel, and that they arrive equal on a server of another version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import copying
from migrations_app.engine.binary_forms import may_travel, read_binary_forms
from migrations_app.engine.encodings import Encodings
from migrations_app.engine.outcome import Run
from migrations_app.engine.parts import Part
from migrations_app.engine.steps import copy
from migrations_app.engine.table_work import TableWork
from tests.postgres import copy_kit
from tests.postgres.copy_kit import assert_equal, execute
from tests.postgres.engine_runs import make_plan, register_tables, running

built = copy_kit.built

TYPES = """
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN odd AS positive CHECK (VALUE % 2 = 1);
CREATE DOMAIN numbers AS numeric(10, 2)[];
CREATE TYPE mood AS ENUM ('sad', 'so so', 'fröhlich');
CREATE DOMAIN good_mood AS mood CHECK (VALUE <> 'sad');
CREATE TYPE point_in_time AS (at timestamptz, words text[], n numeric);
CREATE TYPE felt AS (m mood, since odd, at point_in_time);
CREATE TYPE span AS RANGE (SUBTYPE = float8);
CREATE TYPE moods AS RANGE (SUBTYPE = mood);
CREATE DOMAIN words_to_find AS tsvector;
CREATE TYPE found AS (d words_to_find);
"""
BINARY = {
    "jsonb": """('{"a": [1, null]}'), (NULL)""",
    "timestamptz[]": "('{2020-01-01 12:00+00,NULL}'), ('{}')",
    "int4range": "('[1,5)'), ('empty')",
    "int4multirange": "('{[1,5),[7,9)}'), ('{}')",
    "varchar(7)": "('a'), ('ä€')",
    "positive": "(1), (2147483647)",
    "odd": "(3), (NULL)",
    "numbers": "('{1.25,NULL,-3.5}'), ('{}')",
    "mood": "('fröhlich'), ('so so')",
    "good_mood": "('fröhlich'), (NULL)",
    "mood[]": """('{fröhlich,NULL,"so so"}'), ('[0:1]={sad,sad}')""",
    "odd[]": "('{1,3}'), ('{{5,7},{9,11}}')",
    "point_in_time": """('("2020-01-01 12:00+00","{a,""b c""}",1.50)'), ('(,,)')""",
    "felt": """(ROW('sad', 7, ROW(NULL, '{}', 1))), (NULL)""",
    "felt[]": """(ARRAY[ROW('sad', 7, NULL)::felt, NULL]), ('{}')""",
    "span": "('[1.5,2.5)'), ('empty')",
    "moods": "('[sad,fröhlich)'), (NULL)",
}
TEXT = {
    "tsvector": "('a:1 b:2'), ('')",
    "words_to_find": "('a:1'), (NULL)",
    "found": "(ROW('a:1')), (NULL)",
    "regtype": "('int'), (NULL)",
    "money": "(1), (NULL)",
}
OF_USERS = ("mood[]", "odd[]", "felt", "felt[]")


@pytest.fixture
def run(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> Iterator[Run]:
    types = {**BINARY, **TEXT}
    tables = "".join(f'CREATE TABLE "t {name}" (v {name});' for name in types)
    execute(source_cluster, source_db, TYPES + tables)
    # The types of the target have other numbers, some of which mean something else on the source.
    execute(target_cluster, target_db, "CREATE TYPE other AS ENUM ('x'); CREATE DOMAIN more AS text;" + TYPES + tables)
    execute(source_cluster, source_db, "".join(f'INSERT INTO "t {name}" VALUES {types[name]};' for name in types))
    with running(make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path)) as made:
        register_tables(made, source_cluster)
        yield made


def test_each_type_travels_in_the_format_that_both_servers_understand_and_arrives_equal(
    run: Run,
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: dict[str, tuple[str, str]] = {}
    statements = copying.copy_statements

    def noted(work: TableWork, part: Part, encodings: Encodings, *, freeze: bool) -> tuple[str, str]:
        made = statements(work, part, encodings, freeze=freeze)
        said[work.table.name.removeprefix("t ")] = made
        return made

    monkeypatch.setattr(copying, "copy_statements", noted)
    copy.run(run)
    assert set(said) == {*BINARY, *TEXT}
    for name, pair in said.items():
        wanted = "(FORMAT binary)" if name in BINARY else "(ENCODING 'UTF8')"
        assert all(text.endswith(wanted) for text in pair), (name, pair)
    assert_equal(source_cluster, source_db, target_cluster, target_db)


def test_a_server_before_14_takes_only_its_own_numbers_of_types_in_arrays_and_composites(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    both = []
    for cluster, database in ((source_cluster, source_db), (target_cluster, target_db)):
        with cluster.connect(database) as connection:
            old = read_binary_forms(connection, numbers=True)
            rows = connection.execute("SELECT attrelid::regclass::text, atttypid::bigint FROM pg_attribute").fetchall()
            both.append({name.strip('"').removeprefix("t "): old[oid] for name, oid in rows if oid in old})
    source, target = both
    for name in BINARY:
        assert may_travel(source[name], source[name]), name
        assert may_travel(source[name], target[name]) == (name not in OF_USERS), name


@pytest.mark.parametrize(
    ("source", "target", "travels"),
    [
        ("array #16401:enum", "array #:enum", True),
        ("array #16401:enum", "array #16401:enum", True),
        ("array #16401:enum", "array #16402:enum", False),
        ("array #16401:enum", "array #:23", False),
        ("array #16401:enum", "array 23:23", False),
        ("1043", "25", False),
        ("", "", False),
    ],
)
def test_forms_are_compared_with_what_they_hold(source: str, target: str, travels: bool) -> None:
    assert may_travel(source, target) == travels
