"""What the check says of the target database that is to be made, and makes early: the order of text is the source's, or
what the start would take instead, and then it says so.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.checks.fixes import FixFailed, fix_of, run_fix
from migrations_app.engine.plan import Plan, Server
from tests.folders import public_folder
from tests.postgres import other_servers_kit
from tests.postgres.checks_kit import check, login, plan

# Fixtures that stand in the kit.
eighteen = other_servers_kit.eighteen

_KIND = (
    "SELECT pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider::text, datlocale, daticurules"
    " FROM pg_database WHERE datname = 'made'"
)
_ENCODINGS = {"UTF-8": "UTF8", "ISO-8859-1": "LATIN1"}
_SOURCES = Path("/usr/share/i18n/locales/de_DE")


class Abroad(Cluster):
    """A server whose machine has locales that those of the others lack."""

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), "LOCPATH": str(self.folder.parent / "locales")}


@pytest.fixture(scope="module")
def abroad() -> Iterator[Cluster]:
    """PostgreSQL 16 with the databases `de UTF-8` and `de ISO-8859-1`."""
    if shutil.which("localedef") is None or not _SOURCES.exists():
        pytest.skip("localedef and its sources (Debian: locales) are needed to make a locale")
    with public_folder("abroad") as folder:
        (folder / "locales").mkdir()
        for charmap in _ENCODINGS:
            command = ["localedef", "-i", "de_DE", "-f", charmap, str(folder / "locales" / f"de_DE.{charmap}")]
            subprocess.run(command, check=True, capture_output=True)
        one = Abroad(folder=folder / "server", major=16)
        one.create()
        one.start()
        with one.connect() as connection:
            for charmap, encoding in _ENCODINGS.items():
                how = f"TEMPLATE template0 ENCODING '{encoding}' LOCALE 'de_DE.{charmap}'"
                connection.execute(f'CREATE DATABASE "de {charmap}" {how}'.encode())
        yield one
        one.stop()


@pytest.fixture
def target(target_cluster: Cluster) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with target_cluster.connect() as connection:
        connection.execute("CREATE ROLE modest LOGIN PASSWORD 'x'")
        yield connection
        connection.execute("DROP DATABASE IF EXISTS made WITH (FORCE)")
        connection.execute("DROP ROLE modest")


def to_be_made(source: Server, target: Server, name: str) -> Plan:
    return plan(source, target, [(name, "made")], incremental=False)


@pytest.mark.parametrize(
    ("charmap", "kind"),
    [
        ("UTF-8", ("UTF8", "C.UTF-8", "C.UTF-8", "c", None, None)),
        ("ISO-8859-1", ("LATIN1", "C", "C", "c", None, None)),
    ],
)
def test_a_locale_that_the_targets_machine_lacks_is_named_and_what_is_offered_works_without_it(
    charmap: str, kind: tuple[object, ...], abroad: Cluster, target_cluster: Cluster, target: psycopg.Connection[Any]
) -> None:
    task = to_be_made(login(abroad), login(target_cluster), f"de {charmap}")
    told = f"does not know the locale de_DE.{charmap}. Install it"
    result = check(task, "target-create")
    assert (result.status, result.fix) == ("passed", "")  # the start tries the locale, and then another one
    assert told in result.hint
    modest = replace(task, target=replace(task.target, user="modest", password="x"))
    result = check(modest, "target-create")
    assert (result.status, told in result.hint) == ("failed", True)
    first, _, second = result.sql.splitlines()
    with pytest.raises(psycopg.errors.WrongObjectType):
        target.execute(first.encode())
    target.execute(second.removeprefix("-- ").encode())
    assert target.execute(_KIND).fetchone() == kind


def test_the_statement_that_makes_a_database_anew_with_another_encoding_is_one_that_works(
    source_cluster: Cluster, target_cluster: Cluster, target: psycopg.Connection[Any]
) -> None:
    task = to_be_made(login(source_cluster), login(target_cluster), "western")
    with source_cluster.connect() as connection:
        connection.execute("CREATE DATABASE western TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
        try:
            target.execute("CREATE DATABASE made")
            result = check(task, "encoding")
            assert result.status == "warning"
            target.execute("DROP DATABASE made WITH (FORCE)")
            target.execute(result.sql.encode())
            assert target.execute(_KIND).fetchone() == ("LATIN1", "C", "C", "c", None, None)
            assert check(task, "encoding").status == "passed"
        finally:
            connection.execute("DROP DATABASE western WITH (FORCE)")


def test_a_refused_locale_is_no_matter_of_rights(
    abroad: Cluster, target_cluster: Cluster, target: psycopg.Connection[Any]
) -> None:
    task = to_be_made(login(abroad), login(target_cluster), "de UTF-8")
    like = {"encoding": "UTF8", "collate": "xx_YY.UTF-8", "ctype": "xx_YY.UTF-8", "provider": "c", "locale": ""}
    with pytest.raises(FixFailed) as refused:
        run_fix(task, fix_of("database", {**like, "database": "made"}))
    assert "xx_YY.UTF-8" in refused.value.message
    assert "Install the locale on the target's machine" in refused.value.hint
    assert target.execute(_KIND).fetchone() is None


@other_servers_kit.only_there
def test_rules_of_icu_come_along(eighteen: Cluster) -> None:
    task = to_be_made(login(eighteen), login(eighteen), "ruled")
    kind = ("UTF8", "C", "C", "i", "und", "&V << w <<< W")
    with eighteen.connect() as connection:
        connection.execute(
            "CREATE DATABASE ruled TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'und'"
            " ICU_RULES '&V << w <<< W'"
        )
        try:
            result = check(task, "target-create")
            run_fix(task, fix_of(result.fix, result.fix_arguments))
            assert connection.execute(_KIND).fetchone() == kind
        finally:
            for name in ("ruled", "made"):
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


@other_servers_kit.only_there
def test_an_order_of_icu_is_kept_where_the_character_types_of_the_source_are_lacking(
    abroad: Cluster, eighteen: Cluster
) -> None:
    """The source is another server of the same build, on a machine with more locales."""
    with public_folder("abroad-icu") as folder:
        shutil.copytree(abroad.folder.parent / "locales", folder / "locales")
        one = Abroad(folder=folder / "server", major=18, binaries=eighteen.bin())
        one.create()
        one.start()
        try:
            with one.connect() as there, eighteen.connect() as here:
                there.execute(
                    "CREATE DATABASE here TEMPLATE template0 LOCALE 'de_DE.UTF-8' LOCALE_PROVIDER icu ICU_LOCALE 'de'"
                )
                here.execute("CREATE ROLE modest LOGIN PASSWORD 'x'")
                task = to_be_made(login(one), login(eighteen, user="modest", password="x"), "here")
                result = check(task, "target-create")
                assert "does not know the locale de_DE.UTF-8" in result.hint
                here.execute(result.sql.splitlines()[-1].removeprefix("-- ").encode())
                assert here.execute(_KIND).fetchone() == ("UTF8", "C", "C", "i", "de", None)
                here.execute("DROP DATABASE made")
                here.execute("DROP ROLE modest")
        finally:
            one.stop()
