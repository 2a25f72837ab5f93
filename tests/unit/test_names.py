"""Quoting: every name survives, nothing breaks out."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.lsn import format_lsn, parse_lsn
from migrations_app.engine.names import application_name, ident, literal, qualified, quote, slot_name

hostile = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), min_size=1, max_size=15)


@pytest.mark.parametrize("name", ["a\x00b", "\x00"])
def test_a_nul_character_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="NUL"):
        quote(name)
    with pytest.raises(ValueError, match="NUL"):
        literal(name)


def test_a_percent_sign_is_doubled_only_for_queries_with_parameters() -> None:
    assert quote("50%s") == '"50%s"'
    assert ident("50%s").as_string() == '"50%%s"'


def test_a_slot_name_fits_what_postgresql_allows() -> None:
    name = slot_name("0123abcd", 4294967295)
    assert len(name) < 64
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")


def test_sessions_of_one_task_share_a_prefix() -> None:
    assert application_name("0123abcd", 7)[:-1] == application_name("0123abcd", 8)[:-1]


@given(st.integers(0, 2**63 - 1))
def test_an_lsn_survives_text(lsn: int) -> None:
    assert parse_lsn(format_lsn(lsn)) == lsn


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=hostile, text=hostile)
def test_a_server_reads_back_what_was_quoted(source_cluster: Cluster, name: str, text: str) -> None:
    with psycopg.connect(**source_cluster.arguments()) as connection:
        for setting in ("on", "off"):
            connection.execute(f"SET standard_conforming_strings = {setting}")
            row = connection.execute(f"SELECT {literal(text)} AS {quote(name)}".encode())
            assert row.fetchone() == (text,)
            assert row.description is not None
            assert row.description[0].name == name.encode()[:63].decode(errors="ignore")
            row = connection.execute(
                psycopg.sql.SQL("SELECT t.{} FROM (SELECT %s::text) AS t({})").format(ident(name), ident(name)), (text,)
            )
            assert row.fetchone() == (text,)
        assert qualified(name, name) == f"{quote(name)}.{quote(name)}"
