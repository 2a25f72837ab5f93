"""Reads what the sync must know of a table of the target, in the session that applies."""

from __future__ import annotations

import json
from collections.abc import Callable

from psycopg import pq

from ..newer_words import as_newest
from ..sql import query
from ..wording import say
from .pipeline import Pipeline
from .statements import TargetColumn, TargetTable


def target_reader(pipeline: Pipeline) -> Callable[[str, str], TargetTable | None]:
    """Return what reads a table of the target in the session that applies."""
    sql = query("apply_columns").encode()

    def read(schema: str, name: str) -> TargetTable | None:
        encoding = pipeline.encoding
        parameters = [text.encode(encoding, "surrogateescape") for text in (schema, name)]
        doing = say("reading the columns of {schema}.{name}", schema=schema, name=name)
        result = pipeline.query(sql, parameters, context=doing)
        return parse_target(result, schema, name, encoding)

    return read


def parse_target(result: pq.abc.PGresult, schema: str, name: str, encoding: str) -> TargetTable | None:
    """Read the result of apply_columns.sql; None when the table does not exist."""
    if not result.ntuples:
        return None

    def text(row: int, column: int) -> str:
        return (result.get_value(row, column) or b"").decode(encoding, "surrogateescape")

    columns = tuple(
        TargetColumn(
            name=text(row, 0),
            type_name=as_newest(text(row, 1)),
            builtin=text(row, 2) == "t",
            generated=text(row, 3) == "t",
            comparable=text(row, 4) == "t",
            exact=text(row, 5) == "t",
            operator_schema=text(row, 6),
            in_key=text(row, 7) == "t",
            element_oid=int(text(row, 9) or 0),
            element_type=text(row, 10),
            spelled=text(row, 11) == "t",
            uniques=tuple(json.loads(text(row, 12))),
            apart=text(row, 13) == "t",
        )
        for row in range(result.ntuples)
        if result.get_value(row, 0) is not None
    )
    return TargetTable(schema=schema, name=name, partitioned=text(0, 8) == "t", columns=columns)
