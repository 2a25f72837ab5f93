"""New names in SQL text: what is changed, what is left alone, and that the scanner loses nothing."""

from __future__ import annotations

import random

import pytest

from migrations_app.engine.renaming import Renaming, UnclearName
from migrations_app.engine.sqltokens import UnreadableSql, cut, string_content

NAMES = Renaming(schemas={"public": "app", 'We "ird.%s': "x y", "old": "ancient"})

CHANGED = [
    ("CREATE SCHEMA public;", "CREATE SCHEMA app;"),
    ('DROP SCHEMA IF EXISTS "We ""ird.%s";', 'DROP SCHEMA IF EXISTS "x y";'),
    ("COMMENT ON SCHEMA public IS 'public.t';", "COMMENT ON SCHEMA app IS 'public.t';"),
    ("GRANT USAGE ON SCHEMA public TO PUBLIC;", "GRANT USAGE ON SCHEMA app TO PUBLIC;"),
    (
        "ALTER DEFAULT PRIVILEGES FOR ROLE public IN SCHEMA public GRANT ALL ON TABLES TO public;",
        "ALTER DEFAULT PRIVILEGES FOR ROLE public IN SCHEMA app GRANT ALL ON TABLES TO public;",
    ),
    ("ALTER DATABASE public SET search_path TO 'public', 'x';", "ALTER DATABASE public SET search_path TO 'app', 'x';"),
    (
        "CREATE TABLE public.public (public public.public DEFAULT 'public.a'::text, schema public.t)",
        "CREATE TABLE app.public (public app.public DEFAULT 'public.a'::text, schema app.t)",
    ),
    ("DEFAULT nextval('public.\"S\"'::regclass)", "DEFAULT nextval('app.\"S\"'::regclass)"),
    (
        "DEFAULT nextval(('public.s'::text)::pg_catalog.regclass)",
        "DEFAULT nextval(('app.s'::text)::pg_catalog.regclass)",
    ),
    ('SELECT E\'"We \\"\\"ird.%s".t\'::regclass', "SELECT '\"x y\".t'::regclass"),
    (
        "SELECT 'public'::regnamespace, 'f(public.t)'::regprocedure",
        "SELECT 'app'::regnamespace, 'f(app.t)'::regprocedure",
    ),
    ("COMMENT ON COLUMN public.a.public IS 'x';", "COMMENT ON COLUMN app.a.public IS 'x';"),
    ("CREATE OPERATOR public.* (FUNCTION = public.f)", "CREATE OPERATOR app.* (FUNCTION = app.f)"),
    ("CHECK ((a OPERATOR(public.*) b))", "CHECK ((a OPERATOR(app.*) b))"),
    ("OPERATOR 1 public.<(public.a,public.b)", "OPERATOR 1 app.<(app.a,app.b)"),
    ("CREATE INDEX i ON public.t (public.f(public.*))", "CREATE INDEX i ON app.t (app.f(public.*))"),
    ("CREATE EXTENSION IF NOT EXISTS e WITH SCHEMA public", "CREATE EXTENSION IF NOT EXISTS e WITH SCHEMA app"),
    (
        "CREATE FUNCTION public.f(public.a, b public.c) RETURNS void AS $_$ public.x $_$ SET search_path TO 'public'",
        "CREATE FUNCTION app.f(app.a, b app.c) RETURNS void AS $_$ public.x $_$ SET search_path TO 'app'",
    ),
    (
        "CREATE TRIGGER t BEFORE UPDATE ON public.t FOR EACH ROW WHEN (old.a <> new.a) EXECUTE FUNCTION old.f()",
        "CREATE TRIGGER t BEFORE UPDATE ON app.t FOR EACH ROW WHEN (old.a <> new.a) EXECUTE FUNCTION ancient.f()",
    ),
    ('CREATE TABLE "public".t (); -- public.t', "CREATE TABLE app.t (); -- public.t"),
    ("SELECT 1 /* public.t /* public.u */ */ FROM public.t", "SELECT 1 /* public.t /* public.u */ */ FROM app.t"),
]


@pytest.mark.parametrize(("before", "after"), CHANGED)
def test_a_schema_gets_its_new_name_where_it_is_named(before: str, after: str) -> None:
    assert NAMES.text(before) == after


@pytest.mark.parametrize(
    "text",
    [
        "GRANT SELECT ON TABLE a.t TO public;",
        "ALTER TABLE a.public OWNER TO public;",
        "CREATE SERVER s OPTIONS (schema_name 'public.t')",
        'SELECT a."public".b, "PUBLIC".t, x.public, U&"public".t',
        "SELECT 'public.t'::text, B'1', E'public.t\\'', $$public.t$$, $a$ $$ public.t $a$",
        "CREATE VIEW a.v AS SELECT public.x, (public.y + 1) FROM a.public",
        "-- public.t\n",
    ],
)
def test_everything_else_is_left_alone(text: str) -> None:
    assert NAMES.text(text) == text


def test_two_schemas_can_change_places() -> None:
    assert (
        Renaming(schemas={"a": "b", "b": "a"}).text("SELECT a.f(b.x) FROM a.t, b.t") == "SELECT b.f(a.x) FROM b.t, a.t"
    )


def test_names_of_extensions_lead_to_where_the_target_has_them() -> None:
    names = Renaming(
        schemas={"public": "app"},
        elsewhere={("public", "citext"): "ext", ("public", "<->"): "ext"},
        extensions={"citext": "ext"},
    )
    text = "CREATE EXTENSION citext WITH SCHEMA public; SELECT public.citext, a OPERATOR(public.<->) b FROM public.t"
    expected = "CREATE EXTENSION citext WITH SCHEMA ext; SELECT ext.citext, a OPERATOR(ext.<->) b FROM app.t"
    assert names.text(text) == expected


def test_a_list_of_names_is_changed_only_where_no_quotes_are_needed() -> None:
    text = "SELECT '{public.a,public.b}'::regclass[]"
    assert Renaming(schemas={"public": "app"}).text(text) == "SELECT '{app.a,app.b}'::regclass[]"
    with pytest.raises(UnclearName):
        Renaming(schemas={"public": "A b"}).text(text)


def test_a_body_that_names_the_schema_is_noticed() -> None:
    assert NAMES.mentioned("SELECT 1 FROM Public . t")
    assert NAMES.mentioned('SELECT 1 FROM "We ""ird.%s".t')
    assert not NAMES.mentioned("SELECT republic.t, a.public.t, public")
    assert NAMES.bodies("CREATE FUNCTION a.f() AS $$ SELECT public.t $$")
    assert not NAMES.bodies("CREATE FUNCTION public.f() AS $$ SELECT 1 $$")


@pytest.mark.parametrize("text", ["'a", '"a', "$a$ $b$", "/* /* */", "E'\\'"])
def test_text_without_an_end_is_refused_and_shown_as_it_is(text: str) -> None:
    with pytest.raises(UnreadableSql):
        cut(text)
    assert NAMES.shown(text + "public.t") == text + "public.t"


@pytest.mark.parametrize(
    ("token", "content"),
    [("'it''s'", "it's"), ("E'a\\'b''c\\n\\x41\\101'", "a'b'c\nAA"), ("'a\\b'", "a\\b"), ("B'1'", None)],
)
def test_the_content_of_a_string_is_what_the_server_reads(token: str, content: str | None) -> None:
    assert string_content(token) == content


def test_plain_strings_have_escapes_when_the_dump_says_so() -> None:
    text = "SELECT 'a\\'', public.t, 'b\\''"
    assert NAMES.text(text, backslash=True) == "SELECT 'a\\'', app.t, 'b\\''"


PIECES = [
    "public", "app", "t", " ", "\n", ".", ",", "(", ")", "'x''y'", "E'\\'q'", '"a""b"', '"public"', "::", "regclass",
    "$$ public.t $$", "$x$ ' $x$", "/* ' */", "-- public.t\n", "<->", "*", "1.5e3", "$1", "SCHEMA",
    "FROM", "AS", "é", ";",
]  # fmt: skip


def test_random_text_survives_the_scanner_and_the_way_there_and_back() -> None:
    luck = random.Random(7)  # noqa: S311 - repeatable, and no secret
    there, back = Renaming(schemas={"public": "a b"}), Renaming(schemas={"a b": "public"})
    for _ in range(2000):
        text = "".join(luck.choice(PIECES) + luck.choice(["", " "]) for _ in range(luck.randint(1, 25)))
        try:
            assert "".join(token.text for token in cut(text)) == text
        except UnreadableSql:
            continue
        try:
            moved = there.text(text)
        except UnclearName:
            continue
        assert there.text(moved) == moved
        assert Renaming(schemas={"nowhere": "x"}).text(text) == text
        if '"public"' not in text and "'::" not in text.replace(" ", "") and "E'" not in text:
            assert back.text(moved) == text
