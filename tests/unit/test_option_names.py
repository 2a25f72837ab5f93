"""Names of storage parameters are told from everything else that looks like them."""

from __future__ import annotations

import pytest

from migrations_app.engine.option_names import small_listed, small_options, with_small_options
from tests.entries import entry


@pytest.mark.parametrize(
    ("text", "small"),
    [
        ("WITH (\"Fillfactor\"='70', toast.\"Autovacuum_Enabled\"='false')", None),
        ('CREATE INDEX "By=" ON t USING gin (v) WITH ("FastUpdate"=off)', None),
        ("DEFAULT '(\"Fillfactor\"=70)'::text", "DEFAULT '(\"Fillfactor\"=70)'::text"),
        ("CHECK ((\"Fillfactor\" = '70'::text))", "CHECK ((\"Fillfactor\" = '70'::text))"),
        ('WITH ("select"=1)', 'WITH ("select"=1)'),
    ],
)
def test_only_names_of_parameters_become_small(text: str, small: str | None) -> None:
    wanted = small or text.replace('"Fillfactor"', "fillfactor").replace('"Autovacuum_Enabled"', "autovacuum_enabled")
    assert small_options(text) == (small or wanted.replace('"FastUpdate"', "fastupdate"))


@pytest.mark.parametrize(
    ("definition", "kind"),
    [(b'RETURN "A"=1', "FUNCTION"), (b'CREATE TABLE t () WITH ("A"=\'', "TABLE"), (b"WITH (fillfactor='70')", "TABLE")],
    ids=["a body", "no end", "nothing to do"],
)
def test_other_entries_stay_as_they_are(definition: bytes, kind: str) -> None:
    known = entry(definition, kind)
    assert with_small_options(known) is known


def test_bytes_that_are_no_text_survive() -> None:
    assert with_small_options(entry(b'COLUMN "\xff" int) WITH ("A"=1)')).definition == b'COLUMN "\xff" int) WITH (a=1)'


def test_listed_options_keep_their_values() -> None:
    assert small_listed("Fillfactor=70, buffering=AUTO") == "fillfactor=70, buffering=AUTO"
