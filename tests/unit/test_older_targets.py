"""What the newest pg_dump writes is said in the words of an older target."""

from __future__ import annotations

from dataclasses import replace

import pytest

from migrations_app.engine.older_targets import understood
from migrations_app.engine.toc import POST_DATA, Entry

_ENTRY = Entry(
    dump_id=1,
    class_oid=0,
    oid=0,
    tag="x",
    type="OPERATOR",
    section=POST_DATA,
    definition=b"",
    drop=b"",
    schema="",
    tablespace="",
    access_method="",
    owner="",
    depends_on=(),
)
_OPERATOR = b'CREATE OPERATOR public.=== (\n    FUNCTION = public."FUNCTION = ",\n    LEFTARG = text\n);\n'
_TRIGGER = (
    b"CREATE EVENT TRIGGER x ON sql_drop\n         WHEN TAG IN ('DROP TABLE')\n   EXECUTE FUNCTION public.note();\n"
)


@pytest.mark.parametrize(
    ("kind", "text", "older"),
    [
        ("OPERATOR", _OPERATOR, _OPERATOR.replace(b"\n    FUNCTION", b"\n    PROCEDURE")),
        ("EVENT TRIGGER", _TRIGGER, _TRIGGER.replace(b"EXECUTE FUNCTION", b"EXECUTE PROCEDURE")),
        ("FUNCTION", b"CREATE FUNCTION f", b"CREATE FUNCTION f"),
    ],
)
def test_a_function_is_called_a_procedure_up_to_10(kind: str, text: bytes, older: bytes) -> None:
    entry = replace(_ENTRY, type=kind)
    assert understood(entry, text, 100023) == older
    assert understood(entry, text, 110000) == text
