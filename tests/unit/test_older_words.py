"""What pg_dump of today writes is put into the words of a target before 11."""

from __future__ import annotations

import pytest

from migrations_app.engine.older_words import for_target, without_leakproof

TRIGGER = (
    b'CREATE EVENT TRIGGER "x\n   EXECUTE FUNCTION y" ON sql_drop\n'
    b"         WHEN TAG IN ('DROP TABLE')\n   EXECUTE FUNCTION public.note();\n"
)
OPERATOR = b"CREATE OPERATOR public.=== (\n    FUNCTION = public.same,\n    LEFTARG = public.boxed\n);\n"


def test_an_event_trigger_executes_a_procedure() -> None:
    text = for_target("EVENT TRIGGER", TRIGGER, 100023)
    assert text == TRIGGER[: TRIGGER.rindex(b"FUNCTION")] + b"PROCEDURE public.note();\n"


def test_an_operator_is_made_of_a_procedure() -> None:
    assert for_target("OPERATOR", OPERATOR, 100023) == OPERATOR.replace(b"FUNCTION", b"PROCEDURE")


@pytest.mark.parametrize("version", [110000, 180004])
def test_newer_targets_get_the_words_of_the_dump(version: int) -> None:
    assert for_target("EVENT TRIGGER", TRIGGER, version) == TRIGGER
    assert for_target("OPERATOR", OPERATOR, version) == OPERATOR


def test_nothing_else_is_touched() -> None:
    text = b"CREATE FUNCTION f() AS 'x (\n    FUNCTION = y\n   EXECUTE FUNCTION z';"
    assert for_target("FUNCTION", text, 100023) == text


def test_a_function_is_made_without_what_only_superusers_give() -> None:
    text = b'CREATE FUNCTION f("LEAKPROOF" int) RETURNS int\n    LANGUAGE sql STABLE LEAKPROOF\n    AS $$ LEAKPROOF $$;'
    assert without_leakproof("FUNCTION", text) == text.replace(b"STABLE LEAKPROOF", b"STABLE ")


@pytest.mark.parametrize(
    ("kind", "text"),
    [("VIEW", b"SELECT LEAKPROOF"), ("FUNCTION", b"AS $$ LEAKPROOF $$"), ("FUNCTION", b" LEAKPROOF '")],
)
def test_what_is_not_leakproof_has_no_other_text(kind: str, text: bytes) -> None:
    assert without_leakproof(kind, text) is None
