"""The frame around the check items, without any server."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from migrations_app.demo.clusters import free_port
from migrations_app.engine.checks import CheckResult, all_items, is_startable, items_for, run_checks
from migrations_app.engine.checks.connectivity import is_public
from migrations_app.engine.checks.context import Context
from migrations_app.engine.checks.registry import ITEMS, Finding, Group, item, lines, passed, setting_size, size
from migrations_app.engine.errors import CancelRequested, ConnectFailed
from migrations_app.engine.plan import DatabasePlan, Plan, Server
from migrations_app.engine.selection import Selection
from migrations_app.engine.wording import count, listing
from tests.fakes import FakeControl


def plan(*, incremental: bool = True, host: str = "127.0.0.1") -> Plan:
    server = Server(host=host, port=free_port(), user="x", password="canary-secret")
    return Plan(
        key="0badcafe",
        epoch=1,
        source=server,
        target=server,
        databases=(DatabasePlan(source_name="a", target_name="b"),),
        selection=Selection.everything(),
        incremental=incremental,
        work_dir=Path("/dev/null/none"),
        connect_timeout_seconds=2,
    )


def run(task: Plan, only: frozenset[str] | None = None) -> list[CheckResult]:
    return run_checks(task, FakeControl(), only=only, report=lambda result: None)


def test_every_item_has_a_stable_code_a_title_and_says_what_it_looks_at() -> None:
    for info in all_items():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", info.code)
        assert info.title
        assert info.looks_at.endswith(".")


def test_the_items_come_in_the_order_of_the_groups() -> None:
    groups = [info.group for info in all_items()]
    assert groups == sorted(groups, key=list(Group).index)


def test_a_full_migration_leaves_out_what_only_incremental_sync_needs() -> None:
    codes = {info.code for info in items_for(plan(incremental=False))}
    assert "wal-level" not in codes
    assert {info.code for info in items_for(plan())} - codes == {
        info.code for info in all_items() if info.incremental_only
    }


def test_all_items_run_and_say_why_when_no_server_can_be_reached() -> None:
    task = plan()
    reported: list[str] = []
    results = run_checks(task, FakeControl(), report=lambda result: reported.append(result.code))

    assert sorted(reported) == sorted(result.code for result in results)
    assert {result.code for result in results} == {info.code for info in all_items()}
    assert {result.status for result in results} == {"failed"}
    by_code = {result.code: result for result in results}
    assert "Nothing accepts connections" in by_code["source-reachable"].found
    assert by_code["wal-level"].found.startswith("This could not be looked at because: Nothing accepts")
    assert not any("canary-secret" in repr(result) for result in results)


def test_every_item_answers_when_nothing_is_selected() -> None:
    task = replace(plan(), databases=(), selection=Selection())
    assert {result.code for result in run(task)} == {info.code for info in all_items()}


def test_a_dead_server_costs_its_wait_only_once() -> None:
    failure = ConnectFailed("gone", hint="look", code="CONNECT-TIMEOUT")
    with mock.patch("migrations_app.engine.checks.context.open_session", side_effect=failure) as opened:
        run(plan())
    assert opened.call_count == 2  # the two logins; no database is tried after them


def test_a_bad_address_is_failed_and_nothing_is_dialled() -> None:
    (result,) = run(plan(host="a,b"), frozenset({"source-reachable"}))
    assert result.status == "failed"
    assert "more than one host" in result.found


def test_a_surprise_in_one_item_is_failed_and_does_not_end_the_run() -> None:
    info = ITEMS["wal-level"]
    broken = type(info)(info=info.info, look=lambda context: 1 / 0)  # type: ignore[return-value]
    with mock.patch.dict(ITEMS, {"wal-level": broken}):
        results = run(plan(), frozenset({"wal-level", "leftovers"}))
    by_code = {result.code: result for result in results}
    assert "ZeroDivisionError" in by_code["wal-level"].found
    assert "leftovers" in by_code


def test_a_check_that_must_stop_stops() -> None:
    control = FakeControl()
    control.cancel()
    with pytest.raises(CancelRequested):
        run_checks(plan(), control, report=lambda result: None)


def test_a_stop_inside_an_item_is_no_finding() -> None:
    control = FakeControl()

    def look(context: Context) -> Finding:
        control.cancel()
        context.control.check()
        return passed("x")

    with (
        mock.patch.dict(ITEMS, {"wal-level": replace(ITEMS["wal-level"], look=look)}),
        pytest.raises(CancelRequested),
    ):
        run_checks(plan(), control, only=frozenset({"wal-level"}), report=lambda result: None)


def test_two_items_cannot_share_a_code() -> None:
    with pytest.raises(ValueError, match="wal-level"):
        item("wal-level", "x", Group.SYNC, "x")(lambda context: passed("x"))


def test_start_is_possible_when_nothing_failed() -> None:
    base = run(plan(), frozenset({"wal-level"}))[0]
    fine, look = ({**vars(base), "status": status} for status in ("passed", "warning"))
    assert is_startable([CheckResult(**fine), CheckResult(**look)])
    assert not is_startable([CheckResult(**fine), base])
    assert not is_startable([])


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2001:4860:4860::8888", True),
        ("::ffff:8.8.8.8", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("10.0.0.7", False),
        ("172.31.255.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.0.1", False),
        ("fe80::1", False),
        ("fd00::1", False),
    ],
)
def test_a_public_address_is_told_from_one_of_a_network_of_ones_own(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_long_lists_are_cut_and_counted() -> None:
    assert listing(["a", "b", "c"], 2) == "a, b and 1 more"
    assert listing(["a\nb"]) == "a b"
    assert lines(["x;", "y;"], 1) == "x;\n-- and 1 more"


def test_numbers_are_put_in_words() -> None:
    words = "{number} table", "{number} tables"
    assert [count(1, *words), count(2, *words)] == ["1 table", "2 tables"]
    assert [size(n) for n in (5, 999, 2048, 3 << 30, 700 << 20)] == ["5 B", "999 B", "2 kB", "3.2 GB", "734 MB"]
    assert [setting_size(n) for n in (1 << 10, 64 << 20, 3 << 29)] == ["1 kB", "64 MB", "1.5 GB"]
