"""`manage.py task`: what it prints for people and for scripts, without any server."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from migrations_app.engine.wording import as_data, say, together
from migrations_app.management.cli.output import print_check, told_since
from migrations_app.management.commands.task import Command
from migrations_app.models import MigrationTask
from tests import factories

pytestmark = pytest.mark.django_db
ENDS = ("--source", "postgresql://u@h/d", "--target", "postgresql://u@h/d")
ONE_TASK = ("show", "check", "start", "cancel", "complete", "tune", "wal", "conflict")


def task(*words: str) -> tuple[str, str]:
    """Run the command; return what it printed and what it warned of."""
    out, err = StringIO(), StringIO()
    call_command("task", *words, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def left() -> MigrationTask:
    """A cancelled task whose source could not be reached, with a table that it made on the target."""
    made = factories.running_task("sync", status="cancelled")
    factories.ledger_entry(made)
    factories.ledger_entry(made, side="target", kind="table", schema="sales", name="\x1b[2Jorders\n")
    return made


def _difference(name: str, keys: list[str] | None = None) -> dict[str, Any]:
    return {"schema": "s", "name": name, "verdict": "differs", "sample_keys": keys or [], "reason": ""}


def test_what_a_cancelled_task_left_is_listed_with_the_statement_that_removes_it() -> None:
    said, _ = task("show", str(left().pk))
    assert "left on the source: 1\n    Slot towpath_ab12cd34_16400 in shop\n" in said
    assert "      SELECT pg_drop_replication_slot('towpath_ab12cd34_16400');\n" in said
    assert "left on the target: 1\n    Table sales.\\x1b[2Jorders\\n in shop\n" in said


def test_what_workers_are_about_to_remove_is_not_told_as_left() -> None:
    factories.workers()
    made = factories.running_task("sync", status="ready")
    factories.ledger_entry(made)
    said, _ = task("cancel", str(made.pk))
    assert ("left on the source" in said, "task show lists what is left then" in said) == (False, True)


def test_what_is_left_is_told_to_scripts_too() -> None:
    (source,), (target,) = json.loads(task("show", str(left().pk), "--json")[0])["left"].values()
    assert (source["kind"], source["database"], target["name"]) == ("Slot", "shop", "sales.\x1b[2Jorders\n")
    assert source["removal"] == "SELECT pg_drop_replication_slot('towpath_ab12cd34_16400');"


def test_nothing_that_a_terminal_would_obey_is_printed() -> None:
    made = factories.task(status="check_failed")
    factories.comparison(made, equal=False, differences=[_difference("\x1b[2J", keys=["\x9b1m"])])
    said, _ = task("show", str(made.pk))
    assert "s.\\x1b[2J: differs" in said
    assert all(char.isprintable() for line in said.split("\n") for char in line)


def test_a_check_prints_nothing_that_a_terminal_would_obey() -> None:
    made, out = factories.task(status="check_failed"), StringIO()
    factories.check_item(made, "keys", "failed", found="Table \x1b]0;x\x07 has no key.\nNor has \u202eyek.")
    print_check(made, out)
    assert "Table \\x1b]0;x\\x07 has no key.\\nNor has \\u202eyek.\n" in out.getvalue()


def test_a_name_never_begins_a_line_of_a_check_and_our_own_lines_stay() -> None:
    made, out = factories.task(status="check_failed"), StringIO()
    first = say("Table {table} has no key.", table="t\n  PASSED  all")
    found = together([first, say("Column {column} neither.", column="c\t\n")], by="\n")
    words, hint = as_data(found=found), "Give it one.\nOr leave it."
    factories.check_item(made, "keys", "failed", found=str(found), words=words, hint=hint, sql="ALTER\nTABLE \x1b[2J;")
    print_check(made, out)
    _, *lines, last = out.getvalue().splitlines()
    assert lines == [
        "          Column c\\t\\n neither.",
        "          Give it one.\\nOr leave it.",
        "          ALTER",
        "          TABLE \\x1b[2J;",
    ]
    assert out.getvalue().splitlines()[0].endswith(": Table t\\n  PASSED  all has no key.")
    assert last == "  check: 1 failed, 0 warnings, 0 passed"


def test_one_warning_is_not_called_many() -> None:
    made, out = factories.task(), StringIO()
    factories.check_item(made, "keys", "warning")
    print_check(made, out)
    assert out.getvalue().splitlines()[-1] == "  check: 0 failed, 1 warning, 0 passed"


def test_a_name_never_begins_a_line_of_a_report() -> None:
    made = factories.running_task("sync", status="failed")
    words = say("{table} is gone.", table="s.t\n  comparison of shop: equal")
    MigrationTask.objects.filter(pk=made.pk).update(
        name="odd\nname", error_code="DST-ERROR", error_message=words, error_hint="", words=as_data(error_message=words)
    )
    factories.comparison(made, equal=False, differences=[_difference("t\r\n\u202e")])
    said, _ = task("show", str(made.pk))
    lines = said.split("\n")
    assert lines[1].startswith("odd\\nname  failed")
    assert "  DST-ERROR: s.t\\n  comparison of shop: equal is gone." in lines
    assert any(line.endswith("s.t\\r\\n\\u202e: differs  ") for line in lines)


def test_rows_of_extensions_that_stay_behind_are_told_while_the_task_runs() -> None:
    made = factories.running_task("index")
    factories.event(made, "Rows in 1 table\nof extensions stay.", level="warning", code="EXTENSION-ROWS")
    factories.event(made, "These objects were there.", level="warning", code="SCHEMA-KEPT")
    _, told = told_since(str(made.pk), 0)
    assert told == ["WARNING EXTENSION-ROWS: Rows in 1 table\\nof extensions stay."]


def test_the_list_has_one_line_for_each_task_whatever_it_is_called() -> None:
    for name in ("one\ntwo", "\x1b[1Athree"):
        MigrationTask.objects.filter(pk=factories.task().pk).update(name=name)
    lines = task("list")[0].splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)


def test_a_refusal_is_one_line_that_a_terminal_does_not_obey() -> None:
    with pytest.raises(CommandError) as refused:
        task("drop", str(factories.running_task("sync").pk), 's."t\n\x1b[2J"."u"')
    assert str(refused.value).isprintable()


def test_of_a_long_list_a_terminal_gets_the_first_lines_and_a_script_all() -> None:
    made, out = factories.task(status="check_failed"), StringIO()
    statements = [f"ALTER TABLE t{number} REPLICA IDENTITY FULL;" for number in range(60)]
    factories.check_item(made, "keys", "failed", sql="\n".join(statements))
    print_check(made, out)
    assert f"{statements[49]}\n          -- and 10 more\n" in out.getvalue()
    (item,) = json.loads(task("show", str(made.pk), "--json")[0])["check"]
    assert item["sql"].split("\n") == statements


@pytest.mark.parametrize(
    ("action", "made", "status"),
    [
        ("start", factories.checked_task, "queued"),
        ("complete", lambda: factories.running_task("sync", status="ready"), "completing"),
        ("cancel", lambda: factories.checked_task(status="scheduled"), "cancelled"),
    ],
)
def test_an_action_answers_a_script_with_the_report(action: str, made: Any, status: str) -> None:
    factories.workers()
    row = made()
    said = json.loads(task(action, str(row.pk), "--json")[0])
    assert (said["id"], said["status"]) == (str(row.pk), status)


def test_a_start_without_workers_says_who_is_missing() -> None:
    made = factories.checked_task()
    _, warned = task("start", str(made.pk))
    assert "No worker answers for console, migrate, sync" in warned
    assert "manage.py up" in warned


def test_a_start_with_workers_warns_of_nothing() -> None:
    factories.workers()
    assert task("start", str(factories.checked_task().pk))[1] == ""


def test_a_task_without_a_sync_tells_no_changes_that_were_applied() -> None:
    told = {}
    for incremental in (True, False):
        out = StringIO()
        task = factories.running_task("copy", incremental=incremental)
        call_command("task", "show", str(task.pk), stdout=out)
        told[incremental] = [line for line in out.getvalue().splitlines() if line.startswith("  shop → shop")]
    assert told == {True: ["  shop → shop: 0 changes applied"], False: ["  shop → shop"]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*ENDS, "--name", "n" * 121), "at most 120 characters; this name has 121"),
        (("--source", f"postgresql://u@h/{'d' * 64}", *ENDS[2:]), "source URI holds a name of more than 63 characters"),
        (("--source", "postgresql://u@h:65536/d", *ENDS[2:]), "a number from 1 to 65535"),
        ((*ENDS, "--database", ""), "takes the name of a database"),
        ((*ENDS, "--include", "a.b.c"), "Not an object name"),
        ((*ENDS, "--wal-budget", "much"), "A size is a number with a unit"),
        ((*ENDS, "--wal-policy", "drop"), "--wal-policy drop needs --wal-budget"),
        ((*ENDS, "--mode", "full", "--wal-budget", "1GB"), "need --mode full\\+sync"),
    ],
)
def test_what_the_console_cannot_keep_is_refused_before_anything_is_made(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError, match=said) as refused:
        task("create", *words)
    assert refused.value.returncode == 1
    assert not MigrationTask.objects.exists()


def test_a_task_is_made_with_a_wal_budget() -> None:
    task("create", *ENDS, "--wal-budget", "20GB", "--wal-policy", "pause_others", "--wal-disk", "100GB")
    task("create", *ENDS, "--wal-budget", "1GB")
    task("create", *ENDS)
    made = MigrationTask.objects.order_by("created_at")
    assert [(one.wal_budget_bytes, one.wal_policy, one.wal_disk_bytes) for one in made] == [
        (20 * 10**9, "pause_others", 10**11),
        (10**9, "alarm", None),
        (None, "alarm", None),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "ACTION"),
        (["fly"], "invalid choice: 'fly'"),
        *[([action, "0" * 32, "--nope"], "unrecognized arguments: --nope") for action in ONE_TASK],
        *[([action], "the following arguments are required: id") for action in ONE_TASK],
        (["recopy", "1"], "SCHEMA.TABLE"),
        (["quarantine", "1"], "SCHEMA.TABLE"),
        (["drop", "1"], "SCHEMA.TABLE"),
        (["list", "--nope"], "unrecognized arguments: --nope"),
        (["wal", "1", "--policy", "hope"], "invalid choice: 'hope'"),
        (["conflict", "1", "--drop", "--retry"], "not allowed with argument"),
        (["create", *ENDS[:2]], "the following arguments are required: --target"),
        (["create", *ENDS, "--nope"], "unrecognized arguments: --nope"),
        (["run", *ENDS, "--nope"], "unrecognized arguments: --nope"),
        (["run", *ENDS, "--mode", "half"], "invalid choice: 'half'"),
        (["run", *ENDS, "--wal-policy", "hope"], "invalid choice: 'hope'"),
        (["run", *ENDS, "--jobs", "many"], "--jobs: takes a whole number from 1 to 64, not 'many'"),
        (["run", *ENDS, "--jobs", "65"], "--jobs: takes a whole number from 1 to 64, not '65'"),
        (["run", *ENDS, "--max-rate", "-1"], "--max-rate: takes a whole number from 1 to 100000, not '-1'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_words_that_make_no_sense_end_with_1_for_2_means_that_a_check_failed(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        Command().run_from_argv(["manage.py", "task", *words])
    assert ended.value.code == 1
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""
    assert not MigrationTask.objects.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--role-passwords"], "needs --roles needed"),
        (["--mode", "full", "--follow-additions"], "needs --mode full.sync"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        task("create", *ENDS, *words)
    assert not MigrationTask.objects.exists()


def test_a_command_that_sets_nothing_is_refused_and_notes_nothing() -> None:
    made = factories.running_task("sync", incremental=True)
    with pytest.raises(CommandError, match="--budget, --policy, --disk"):
        call_command("task", "wal", str(made.pk))
    assert not made.events.filter(code="WAL-BUDGET").exists()


def test_a_policy_for_a_budget_that_is_not_there_is_refused_on_the_command_line() -> None:
    made = factories.running_task("sync", incremental=True)
    with pytest.raises(CommandError, match="--policy drop needs --budget"):
        call_command("task", "wal", str(made.pk), "--policy", "drop")


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"]], ids=" ".join)
def test_help_tells_the_exit_codes(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        Command().run_from_argv(["manage.py", "task", *words])
    assert ended.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    for code, meaning in (
        (0, "done"),
        (1, "an option or value is wrong"),
        (2, "the check failed"),
        (4, "the comparison"),
    ):
        assert f"{code} = {meaning}" in told
