"""What the page Prepare the source writes for servers of many kinds, without any server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migrations_app.engine.catalog import Table
from migrations_app.engine.plan import DatabasePlan, Plan, Server, TlsMode
from migrations_app.engine.prepare import Line, Preparation, prepare
from migrations_app.engine.selection import Selection
from migrations_app.engine.source_facts import DatabaseFacts, Setting, SourceFacts
from migrations_app.engine.vendors import ROLES, WORDS

SECRET = "canary-of-the-source"


def plan(*names: str, **server: Any) -> Plan:
    values: dict[str, Any] = {"host": "h", "port": 5432, "user": "mover", "password": SECRET, "tls": TlsMode.REQUIRE}
    return Plan(
        key="0badcafe",
        epoch=1,
        source=Server(**(values | server)),
        target=Server(host="t", port=5432, user="x"),
        databases=tuple(DatabasePlan(source_name=name, target_name=name) for name in names or ("shop",)),
        selection=Selection.everything(),
        incremental=True,
        work_dir=Path("/dev/null/none"),
    )


def facts(**more: Any) -> SourceFacts:
    settings = {"wal_level": "logical", "max_replication_slots": "10", "max_wal_senders": "10"}
    return SourceFacts(
        version=more.pop("version", 160004),
        address=more.pop("address", "192.0.2.10"),
        address_seen=True,
        tls=more.pop("tls", "TLSv1.3"),
        settings={name: setting(value) for name, value in (settings | more.pop("settings", {})).items()},
        **more,
    )


def setting(value: str | Setting) -> Setting:
    if isinstance(value, Setting):
        return value
    return Setting(shown=value, number=int(value) if value.lstrip("-").isdigit() else None)


def line(prepared: Preparation, name: str) -> Line:
    return next(one for one in prepared.settings if one.name == name)


def table(name: str, owner: str, **more: Any) -> Table:
    values: dict[str, Any] = {
        "oid": 1, "schema": "public", "name": name, "kind": "r", "persistence": "p", "replica_identity": "d",
        "is_partition": False, "is_heap": True, "parent_oid": None, "bytes": 5 << 30, "outside_bytes": 0,
        "rows_estimate": 1, "owner": owner, "can_read": True,
        "is_owner": False, "row_security": False, "has_rules": False,
        "primary_key": ("id",), "unique_key": (), "identity_index_key": (),
    }  # fmt: skip
    return Table(**(values | more))


def test_a_server_that_has_everything_changes_nothing() -> None:
    prepared = prepare(plan(), facts(replication=True))
    assert (prepared.conf, prepared.alter, prepared.restart) == ("", "", False)
    assert prepared.hba_known_to_work


def test_slots_are_what_is_there_and_what_is_needed() -> None:
    prepared = prepare(plan("a", "b"), facts(slots_used=9, senders_used=1))
    assert line(prepared, "max_replication_slots").wanted == "12"
    assert line(prepared, "max_wal_senders").ok
    assert prepared.conf == "max_replication_slots = 12"
    assert prepared.restart


def test_many_tables_need_a_larger_lock_table_and_a_restart() -> None:
    many = DatabaseFacts(name="shop", tables=tuple(table(f"t{number}", "app") for number in range(4000)))
    room = {"max_locks_per_transaction": "64", "max_connections": "100", "max_prepared_transactions": "0"}
    for incremental in (True, False):
        prepared = prepare(
            replace(plan(), incremental=incremental), facts(replication=True, settings=room, databases=(many,))
        )
        locks = line(prepared, "max_locks_per_transaction")
        assert (locks.now, locks.wanted, locks.ok, prepared.restart) == ("64", "224", False, True)
        assert "max_locks_per_transaction = 224" in prepared.conf
        assert not any("nothing restarts" in note for note in prepared.notes)
    room["max_locks_per_transaction"] = "224"
    enough = prepare(plan(), facts(replication=True, settings=room, databases=(many,)))
    assert not any(one.name == "max_locks_per_transaction" for one in enough.settings)


@pytest.mark.parametrize(("version", "begins"), [(90324, ""), (90426, "ALTER SYSTEM"), (0, "ALTER SYSTEM")])
def test_settings_are_written_by_sql_only_where_the_server_knows_that(version: int, begins: str) -> None:
    room = {"max_locks_per_transaction": "64", "max_connections": "100", "max_prepared_transactions": "0"}
    many = DatabaseFacts(name="shop", tables=tuple(table(f"t{number}", "o") for number in range(4000)))
    prepared = prepare(plan(), facts(version=version, settings={"wal_level": "minimal", **room}, databases=(many,)))
    assert bool(prepared.conf)
    assert prepared.alter.startswith(begins)
    assert bool(prepared.alter) == bool(begins)


def test_large_objects_of_a_whole_database_are_granted_one_by_one() -> None:
    closed = DatabaseFacts(name="shop", closed_large_objects=3)
    grant = "SELECT format('GRANT SELECT ON LARGE OBJECT %s TO %s;', oid, '\"mover\"')"
    grant += " FROM pg_largeobject_metadata \\gexec"
    for incremental in (True, False):
        script = prepare(replace(plan(), incremental=incremental), facts(databases=(closed,))).script
        assert grant in script.splitlines()
    assert "LARGE OBJECT" not in prepare(plan(), facts(databases=(DatabaseFacts(name="shop"),))).script


@pytest.mark.parametrize(("version", "both"), [(0, False), (90600, True), (160004, False)])
def test_both_lines_of_pg_hba_are_called_needed_where_two_are_written(version: int, both: bool) -> None:
    prepared = prepare(plan(), facts(version=version))
    assert (prepared.hba_both, prepared.hba.count("\n")) == (both, 2 if both else 1)


def test_a_setting_that_waits_for_its_restart_is_not_written_twice() -> None:
    waits = Setting(shown="replica", number=None, pending_restart=True)
    prepared = prepare(plan(), facts(settings={"wal_level": waits}))
    assert line(prepared, "wal_level").waits
    assert prepared.conf == ""
    assert prepared.restart


def test_limits_that_would_lose_the_slot_are_raised_without_a_restart() -> None:
    limits = {"max_slot_wal_keep_size": "100", "idle_replication_slot_timeout": "3600", "wal_sender_timeout": "5000"}
    big = DatabaseFacts(name="shop", tables=(table("orders", "o"),))
    prepared = prepare(plan(), facts(version=180000, settings=limits, databases=(big,)))
    assert "max_slot_wal_keep_size = '10240MB'" in prepared.conf
    assert "ALTER SYSTEM SET wal_sender_timeout = '60s';" in prepared.alter
    assert "idle_replication_slot_timeout = 0" in prepared.conf
    assert not prepared.restart


@pytest.mark.parametrize("vendor", sorted(set(ROLES.values())))
def test_a_managed_server_is_told_in_its_vendors_words(vendor: str) -> None:
    prepared = prepare(plan(), facts(vendor=vendor, settings={"wal_level": "replica"}))
    assert prepared.vendor == WORDS[vendor][0]
    assert len(prepared.vendor_words) == 2
    assert ("GRANT rds_replication" in prepared.script) == (vendor == "rds")
    assert ("REPLICATION;" in prepared.script) == (vendor != "rds")


@pytest.mark.parametrize(
    ("version", "words"),
    [(90624, "through test_decoding"), (90324, "no logical decoding"), (0, "If the source is")],
)
def test_old_servers_are_told_what_differs_there(version: int, words: str) -> None:
    prepared = prepare(plan(), facts(version=version))
    assert any(words in note for note in prepared.notes)
    if version:
        assert prepared.hba.count("md5") == 2
        assert "replication" in prepared.hba


def test_passwords_are_made_as_scram_also_where_md5_is_the_default() -> None:
    outside = facts(failure="no such account", settings={"password_encryption": "md5"})
    assert prepare(plan(), outside).script.startswith("SET password_encryption = 'scram-sha-256';\nCREATE ROLE")


@pytest.mark.parametrize("kept", ["md5", "scram-sha-256"])
@pytest.mark.parametrize(
    ("known", "method"),
    [
        ({"scram": True}, "scram-sha-256"),
        ({"scram": False}, "md5"),
        ({"failure": "no password is known"}, "md5"),
        ({"failure": "away", "version": 0}, "md5"),
    ],
)
def test_an_account_whose_password_may_be_kept_as_md5_is_not_shut_out(
    known: dict[str, Any], method: str, kept: str
) -> None:
    prepared = prepare(plan(), facts(**({"version": 170002} | known), settings={"password_encryption": kept}))
    assert prepared.hba.splitlines()[1].split()[-1] == method


def test_the_small_account_that_the_script_makes_signs_in_by_scram() -> None:
    prepared = prepare(plan(), facts(superuser=True))
    assert [line.split()[-1] for line in prepared.hba.splitlines()[1:]] == ["md5", "scram-sha-256"]


def test_a_small_account_that_is_there_and_kept_as_md5_is_not_shut_out() -> None:
    prepared = prepare(plan(), facts(superuser=True, scram=True, small_scram=False))
    assert [line.split()[-1] for line in prepared.hba.splitlines()[1:]] == ["scram-sha-256", "md5"]


def test_an_address_of_ipv6_and_special_names_are_written_as_pg_hba_wants_them() -> None:
    prepared = prepare(plan("all", "Two Words", 'q"uote', user="replication"), facts(address="2001:db8::1", tls=""))
    row = prepared.hba.splitlines()[1]
    assert '"all","Two Words","q""uote"' in row
    assert '"replication"' in row
    assert "2001:db8::1/128" in row


def test_many_databases_become_all() -> None:
    assert " all " in prepare(plan(*(f"d{number}" for number in range(30))), facts()).hba


def test_a_plain_connection_gets_a_plain_line() -> None:
    assert prepare(plan(tls=TlsMode.PREFER), facts(tls="")).hba.splitlines()[1].startswith("host ")


def test_tables_of_a_superuser_are_warned_about_and_names_cannot_break_out_of_a_comment() -> None:
    evil = 'shop\n"; DROP TABLE x; --'
    tables = (table("orders", "postgres"),)
    database = DatabaseFacts(name=evil, tables=tables, schemas=(("inside", "somebody", False),))
    prepared = prepare(plan(evil), facts(superusers=frozenset({"postgres"}), databases=(database,)))
    assert any("belong to the superuser postgres" in note for note in prepared.notes)
    for one in prepared.role[0].sql.splitlines():
        assert one.startswith(("ALTER ROLE", "GRANT", "--", '""; DROP TABLE x; --" TO'))
    assert "owns 1 selected in shop?" in prepared.role[0].sql
    inside = prepared.script.removeprefix(prepared.role[0].sql).strip().splitlines()
    assert len(inside) == 3
    assert all(one.startswith("-- ") for one in inside)
    assert len(prepared.hba.splitlines()) == 2


def test_a_superusers_membership_is_not_handed_out() -> None:
    tables = (table("orders", "postgres"), table("notes", "writer"))
    database = DatabaseFacts(name="shop", tables=tables, schemas=(("inside", "postgres", False),))
    prepared = prepare(plan(), facts(superusers=frozenset({"postgres"}), databases=(database,)))
    lines = prepared.script.splitlines()
    assert [one for one in lines if one.startswith("GRANT") and "postgres" in one] == []
    assert 'GRANT "writer" TO "mover";  -- owns 1 selected in shop' in lines
    assert '-- GRANT "postgres" TO "mover";  -- its members could become superuser' in lines
    assert '-- ALTER TABLE "public"."orders" OWNER TO an_ordinary_role;' in lines
    assert 'GRANT USAGE ON SCHEMA "inside" TO "mover";' in lines
    assert "notes" not in prepared.script


def owned_by(*owners: str, **more: Any) -> str:
    """Return the first part of the script for an account that is there."""
    tables = tuple(table(f"of_{owner}", owner) for owner in owners)
    return prepare(plan(), facts(databases=(DatabaseFacts(name="shop", tables=tables),), **more)).role[0].sql


def test_nobody_is_put_into_himself_or_into_a_role_whose_rights_he_has() -> None:
    assert "GRANT" not in owned_by("mover", "writer", usable=frozenset({"mover", "writer"})).split("GRANT CONNECT")[0]
    assert 'GRANT "mover"' not in owned_by("mover", failure="no such account")
    assert 'GRANT "writer" TO "mover";' in owned_by("mover", "writer", usable=frozenset({"mover"}))


@pytest.mark.parametrize("more", [{"inherits": False}, {"joined": frozenset({"writer"})}])
def test_a_membership_says_since_sixteen_that_its_rights_are_inherited(more: dict[str, Any]) -> None:
    assert 'GRANT "writer" TO "mover" WITH INHERIT TRUE;  -- owns' in owned_by("writer", **more)


def test_an_account_is_let_inherit_before_sixteen_where_it_is_put_into_an_owner() -> None:
    script = owned_by("writer", version=150000, replication=True, inherits=False)
    assert script.startswith('ALTER ROLE "mover" INHERIT;\nGRANT "writer" TO "mover";  -- owns')
    assert "INHERIT" not in owned_by("writer", inherits=False, version=150000, usable=frozenset({"writer"}))


def test_an_account_in_a_superusers_place_is_let_in_too() -> None:
    old = prepare(plan(user="postgres"), facts(superuser=True, version=90600)).hba
    assert [one.split()[1:3] for one in old.splitlines()[1:]] == [
        ["postgres,shop", "postgres"],
        ["replication", "postgres"],
        ["postgres,shop", "towpath"],
        ["replication", "towpath"],
    ]
    assert "towpath" not in prepare(plan(), facts()).hba


def test_row_security_that_binds_owners_too_is_passed_by() -> None:
    database = DatabaseFacts(name="shop", tables=(table("guarded", "o"),), forced_row_security=True)
    assert "BYPASSRLS" in prepare(plan(), facts(databases=(database,))).script
    reading = replace(plan(), incremental=False)
    guarded = replace(database, tables=(table("guarded", "o", row_security=True),), forced_row_security=False)
    assert "BYPASSRLS" in prepare(reading, facts(databases=(guarded,))).script


def test_no_secret_is_part_of_what_is_stored() -> None:
    assert SECRET not in str(prepare(plan(), facts(failure="no")).as_json())
