"""`manage.py task …`: everything that the console does, for scripts and terminals."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ... import selectors, services
from ...checks import COMMAND_LINE
from ...engine.selection import DESTRUCTIVE, EXISTING, ROLES
from ...engine.states import WORKED
from ...engine.wording import one_line
from ...models import MigrationTask
from ..cli import access as access_cli
from ..cli import passwords as passwords_cli
from ..cli import ssh as ssh_cli
from ..cli import wal as wal_cli
from ..cli.address import endpoint_from_uri, object_path
from ..cli.asked import CHECK_FAILED, RunOptions, exit_code
from ..cli.choosing import selection_of
from ..cli.deciding import CHOICES, OF_TABLES
from ..cli.making import make_task
from ..cli.output import print_check, print_conflict, print_left, print_report, progress_line, report
from ..cli.tables import ensure_tables
from ..cli.values import knob, number_to, refuse_no_text, start_time, task_name

_WRONG_WORDS = 2  # argparse's own exit code; ours says that a check failed
_EXIT_CODES = (
    "Exit codes: 0 = done; 1 = an option or value is wrong, the action is not possible, or something unexpected "
    "happened; 2 = the check failed; 3 = the migration failed or was cancelled; 4 = the comparison found differences; "
    "130 = interrupted, the position is kept."
)


class Command(BaseCommand):
    """One subcommand per action; `run` does all of them in the foreground."""

    help = "Create, check, start, complete and cancel migration tasks, or run one in the foreground."
    stealth_options = ("func",)
    requires_system_checks = [COMMAND_LINE]  # noqa: RUF012 - what the base class calls it
    _understood = False

    def run_from_argv(self, argv: list[str]) -> None:
        """Run the command as it was typed. Words that make no sense end with 1, as all that is refused."""
        try:
            super().run_from_argv(argv)
        except SystemExit as left:
            if left.code == _WRONG_WORDS and not self._understood:
                raise SystemExit(1) from None
            raise

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the subcommands."""
        parser.epilog = _EXIT_CODES
        subparsers = parser.add_subparsers(
            dest="action", required=True, metavar="ACTION", parser_class=access_cli.WordsParser
        )
        create = subparsers.add_parser("create", help="create a task for the queue workers")
        self._endpoint_arguments(create)
        create.add_argument("--at", metavar="TIME", help="start time, such as 2026-12-24T23:00")
        run = subparsers.add_parser(
            "run", help="create, check, start and drive one task in this process", epilog=_EXIT_CODES
        )
        self._endpoint_arguments(run, required=False)
        run.add_argument("--complete", action="store_true", help="press Complete as soon as the target is in sync")
        run.add_argument("--resume", metavar="ID", help="go on with a task that an earlier run left")
        subparsers.add_parser("list", help="list all tasks").add_argument("--json", action="store_true")
        for name, (text, _) in OF_TABLES.items():
            one = subparsers.add_parser(name, help=text)
            one.add_argument("id", help="the task's id, or its first characters")
            one.add_argument("table", metavar="SCHEMA.TABLE")
            one.add_argument("--database", default="", help="of the source; needed when the task has more than one")
        self._conflict_arguments(subparsers.add_parser("conflict", help="show or decide what a failed sync stopped at"))
        for name, text in (
            ("show", "print everything about a task"),
            ("check", "run the check now, in this process"),
            ("start", "start a task whose check has passed"),
            ("cancel", "cancel a task and remove what is ours from both servers"),
            ("clean-up", "try once more to remove what an ended task has left on its servers"),
            ("complete", "close the sync of a task that is ready"),
            ("keep-syncing", "let the sync go on instead of completing"),
        ):
            one = subparsers.add_parser(name, help=text)
            one.add_argument("id", help="the task's id, or its first characters")
            one.add_argument("--json", action="store_true")
        tune = subparsers.add_parser("tune", help="set how fast a task copies, also while it runs")
        tune.add_argument("id", help="the task's id, or its first characters")
        tune.add_argument(
            "--jobs", metavar="N", help="tables copied and indexed at the same time; usual = as installed"
        )
        tune.add_argument("--max-rate", metavar="MB", help="most MB read a second, all tables together; none = no cap")
        asked = subparsers.add_parser("passwords", help="give passwords that only the target is to know")
        asked.add_argument("id", help="the task's id, or its first characters")
        passwords_cli.file_argument(asked, "--file")
        wal = subparsers.add_parser("wal", help="set how much WAL the source may keep for a task")
        wal.add_argument("id", help="the task's id, or its first characters")
        wal_cli.change_arguments(wal)
        access = subparsers.add_parser("access", help="change how a failed or paused task reaches one of its servers")
        access.add_argument("id", help="the task's id, or its first characters")
        access_cli.arguments(access)
        access.hides_words = True

    @staticmethod
    def _conflict_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("id", help="the task's id, or its first characters")
        choice = parser.add_mutually_exclusive_group()
        for option, text in (
            ("--retry", "try again: the row was put right on the target"),
            ("--take-source", "put the source's row in place of what is on the target, once"),
            ("--apply", "at a table that changed on the source: change the target's with the statements shown, once"),
            ("--recopy", "copy the table again while all others go on"),
            ("--quarantine", "pass the table by until it is copied again or dropped"),
            ("--drop", "take the table out of the task for good"),
        ):
            choice.add_argument(option, action="store_const", dest="choice", const=option, help=text)

    @staticmethod
    def _endpoint_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
        parser.add_argument("--source", metavar="URI", required=required, help="postgresql://user@host:5432/database")
        parser.add_argument("--target", metavar="URI", required=required)
        parser.add_argument(
            "--passfile", default="", help="file with lines host:port:database:user:password, mode 0600"
        )
        passwords_cli.file_argument(parser, "--target-passwords")
        ssh_cli.arguments(parser)
        parser.add_argument("--name", default="", help="name of the task")
        parser.add_argument(
            "--database",
            action="append",
            default=[],
            metavar="D",
            help="migrate this database under the same name; repeatable. "
            "Without it: the source URI's database into the target URI's",
        )
        parser.add_argument(
            "--include", action="append", default=[], metavar="SCHEMA[.TABLE]", help="only this; repeatable"
        )
        Command._selection_arguments(parser)
        parser.add_argument(
            "--mode", choices=["full", "full+sync"], help="default: full+sync with --complete and for create, else full"
        )
        jobs, rate = number_to(services.MOST_JOBS), number_to(services.MOST_MB_PER_SECOND)
        parser.add_argument("--jobs", type=jobs, default=None, metavar="N", help="tables copied at the same time")
        parser.add_argument("--max-rate", type=rate, default=None, metavar="MB", help="most MB read a second")
        wal_cli.new_task_arguments(parser)
        parser.add_argument(
            "--no-compare",
            action="store_true",
            help="with --mode full: end without comparing; the task then says so, and nothing proves the rows equal",
        )
        parser.add_argument("--json", action="store_true", help="print the report as JSON on stdout")

    @staticmethod
    def _selection_arguments(parser: argparse.ArgumentParser) -> None:
        for option, metavar, text in (
            ("--exclude", "SCHEMA[.TABLE]", "leave this out of what is migrated; repeatable"),
            ("--structure-only", "SCHEMA[.TABLE]", "make this without its rows; repeatable"),
            ("--map-schema", "[DB.]OLD=NEW", "name of a schema on the target; repeatable"),
            ("--map-database", "OLD=NEW", "name of a database on the target; repeatable"),
        ):
            parser.add_argument(option, action="append", default=[], metavar=metavar, help=text)
        parser.add_argument(
            "--roles", choices=ROLES, default="none", help="make roles that the target lacks: those needed, or all"
        )
        parser.add_argument(
            "--role-passwords", action="store_true", help="with the hashes of their passwords, where they can be read"
        )
        parser.add_argument(
            "--existing",
            choices=EXISTING,
            default="refuse",
            help="what happens to objects of the target that are in the way",
        )
        parser.add_argument(
            "--yes-destroy",
            default="",
            metavar="TASKNAME",
            help="confirms --existing truncate and recreate: the name of the task (--name)",
        )
        parser.add_argument(
            "--follow-additions",
            action="store_true",
            help="during the sync, add on the target by itself what is only added to tables of the source: columns "
            "that may be NULL and have no default, and empty partitions; at other changes the sync stops and asks",
        )
        parser.add_argument(
            "--without-foreign-keys",
            action="store_true",
            help="leave out foreign keys to tables whose rows do not move, instead of refusing them",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the subcommand; its exit code is the command's."""
        self._understood = True
        refuse_no_text(options)
        if options["action"] not in ("create", "run"):  # they make the tables once their own words make sense
            ensure_tables()
        try:
            code = self._do(options)
        except services.Refused as refused:
            raise CommandError(one_line(refused.message)) from refused
        except CommandError as error:
            raise CommandError(one_line(str(error)), returncode=error.returncode) from error
        if code:
            raise SystemExit(code)

    def _do(self, options: dict[str, Any]) -> int:
        if options["action"] in OF_TABLES:
            return self._about_table(OF_TABLES[options["action"]][1], options)
        done: int = getattr(self, "_" + options["action"].replace("-", "_"))(options)
        return done

    def _run_options(self, options: dict[str, Any]) -> RunOptions:
        if not options["source"] or not options["target"]:
            raise CommandError("Both --source and --target are needed.")
        source, target = (
            ssh_cli.behind(endpoint_from_uri(options[side], side, options["passfile"]), options, side)
            for side in ("source", "target")
        )
        names = list(dict.fromkeys(options["database"])) or [source.database]
        if "" in names:
            raise CommandError("--database takes the name of a database of the source.")
        selection = selection_of(options, names, {} if options["database"] else {source.database: target.database})
        name = task_name(options["name"]) or f"{', '.join(names)} to {target.host}"[:120]
        if options["existing"] in DESTRUCTIVE and options["yes_destroy"] != name:
            raise CommandError(
                f"--existing {options['existing']} takes data of the target away. Confirm it with --yes-destroy and the"
                f" task's name: {name}"
            )
        complete = bool(options.get("complete", True))
        mode = options["mode"] or ("full+sync" if complete else "full")
        if options["no_compare"] and mode != "full":
            raise CommandError("--no-compare needs --mode full: what Complete closes is always compared.")
        if options["follow_additions"] and mode != "full+sync":
            raise CommandError("--follow-additions needs --mode full+sync: without a sync nothing is followed.")
        return RunOptions(
            source=source,
            target=target,
            name=name,
            selection=selection,
            incremental=mode == "full+sync",
            complete=complete,
            jobs=options["jobs"],
            mb_per_second=options["max_rate"],
            compare=not options["no_compare"],
            as_json=options["json"],
            existing=options["existing"],
            wal=wal_cli.wal_options(options, incremental=mode == "full+sync"),
            passwords=passwords_cli.from_file(options["target_passwords"]) if options["target_passwords"] else [],
        )

    def _create(self, options: dict[str, Any]) -> int:
        wanted, at = self._run_options(options), start_time(options["at"])
        ensure_tables()
        task = make_task(wanted, at=at)
        self.stdout.write(json.dumps({"id": str(task.pk)}) if wanted.as_json else f"created {task.pk}")
        return 0

    def _run(self, options: dict[str, Any]) -> int:
        from ..cli import foreground  # with all that drives a task, which other actions do without

        if options["resume"]:
            task, complete = _find(options["resume"]), options["complete"]
            return foreground.resume(task, self.stdout, self.stderr, complete=complete, as_json=options["json"])
        return foreground.run(self._run_options(options), self.stdout, self.stderr)

    def _list(self, options: dict[str, Any]) -> int:
        tasks = MigrationTask.objects.order_by("-created_at")
        if options["json"]:
            self.stdout.write(
                json.dumps([{"id": str(task.pk), "name": task.name, "status": task.status} for task in tasks])
            )
            return 0
        for task in tasks:
            self.stdout.write(one_line(f"{task.pk}  {task.name}: {progress_line(task)}"))
        if not tasks:
            self.stdout.write("No tasks yet. Create one: manage.py task create --source URI --target URI")
        return 0

    def _show(self, options: dict[str, Any]) -> int:
        return self._print(_find(options["id"]), options)

    def _check(self, options: dict[str, Any]) -> int:
        from ..cli import foreground  # as above

        task = _find(options["id"])
        foreground.check(task)
        if options["json"]:
            self.stdout.write(json.dumps(report(task), indent=1))
        else:
            print_check(task, self.stdout)
        return CHECK_FAILED if exit_code(task) == CHECK_FAILED and task.status != "check_passed" else 0

    def _start(self, options: dict[str, Any]) -> int:
        return self._said_or_json(services.start_task(task_id=_find(options["id"]).pk, actor=None), options)

    def _cancel(self, options: dict[str, Any]) -> int:
        return self._removed(services.cancel_task(task_id=_find(options["id"]).pk, actor=None), options)

    def _clean_up(self, options: dict[str, Any]) -> int:
        return self._removed(services.clean_up_task(task_id=_find(options["id"]).pk, actor=None), options)

    def _removed(self, task: MigrationTask, options: dict[str, Any]) -> int:
        """Have what is ours removed from both servers, and print what is left."""
        if not services.workers_alive():  # nobody else would clean up
            from ..cli import foreground  # as above

            foreground.clean_up(task)
        code = self._said_or_json(task, options)
        if options["json"]:
            return code
        task.refresh_from_db()
        if task.status in WORKED:  # what is there now is about to go
            self.stdout.write("  It is removed from both servers now; task show lists what is left then.")
        else:
            print_left(task, self.stdout)
        return code

    def _conflict(self, options: dict[str, Any]) -> int:
        task = _find(options["id"])
        if options["choice"] is None:
            if not print_conflict(task, self.stdout):
                self.stdout.write(f"{one_line(task.name)}: no changed table and no conflict stopped this task.")
                if task.error_message:  # there may be something to do about it all the same
                    self.stdout.write(f"  {one_line(task.error_message)}\n  {one_line(task.error_hint)}".rstrip())
            return 0
        self._say(CHOICES[options["choice"]](task_id=task.pk, actor=None))
        if task.foreground:
            self.stdout.write(f"Go on with: manage.py task run --resume {task.pk}")
        return 0

    def _about_table(self, decide: Callable[..., MigrationTask], options: dict[str, Any]) -> int:
        task, path = _find(options["id"]), object_path(options["table"])
        known = [row.source_name for row in task.databases.all()]
        database = options["database"] or (known[0] if len(known) == 1 else "")
        if len(path) != 2 or database not in known:
            raise CommandError(f"Name the table as SCHEMA.TABLE, and the database as one of: {', '.join(known)}.")
        return self._say(decide(task_id=task.pk, actor=None, database=database, schema=path[0], name=path[1]))

    def _complete(self, options: dict[str, Any]) -> int:
        return self._said_or_json(services.complete_task(task_id=_find(options["id"]).pk, actor=None), options)

    def _keep_syncing(self, options: dict[str, Any]) -> int:
        return self._said_or_json(services.keep_syncing(task_id=_find(options["id"]).pk, actor=None), options)

    def _tune(self, options: dict[str, Any]) -> int:
        task = _find(options["id"])
        if options["jobs"] is None and options["max_rate"] is None:
            raise CommandError("Give --jobs, --max-rate, or both.")
        jobs = knob(options["jobs"], "--jobs", "usual", task.copy_jobs)
        rate = knob(options["max_rate"], "--max-rate", "none", task.copy_mb_per_second)
        return self._say(services.tune_task(task_id=task.pk, actor=None, jobs=jobs, mb_per_second=rate))

    def _passwords(self, options: dict[str, Any]) -> int:
        task = _find(options["id"])
        given = passwords_cli.from_file(options["file"]) if options["file"] else passwords_cli.typed(task)
        return self._say(services.give_passwords(task_id=task.pk, actor=None, given=given) if given else task)

    def _wal(self, options: dict[str, Any]) -> int:
        return self._say(wal_cli.change_budget(_find(options["id"]), options))

    def _access(self, options: dict[str, Any]) -> int:
        task = _find(options["id"])
        self._say(task)
        task = access_cli.change(task, options, self.stdout)
        return access_cli.test_way(task, options["side"], self.stdout) if options["test"] else 0

    def _say(self, task: MigrationTask) -> int:
        self.stdout.write(one_line(f"{task.name}: {progress_line(task)}"))
        return 0

    def _said_or_json(self, task: MigrationTask, options: dict[str, Any]) -> int:
        if not task.foreground and task.status in WORKED and (problem := selectors.health().problem):
            self.stderr.write(problem)  # or everybody would wait for a worker that nobody has started
        if selectors.left_by_its_terminal(task):  # nor does a worker take what belongs to a terminal
            self.stderr.write(f"Nobody works on it. Go on with: manage.py task run --resume {task.pk}")
        return self._print(task, options) if options["json"] else self._say(task)

    def _print(self, task: MigrationTask, options: dict[str, Any]) -> int:
        if options["json"]:
            self.stdout.write(json.dumps(report(task), indent=1))
        else:
            print_report(task, self.stdout)
        return 0


def _find(prefix: str) -> MigrationTask:
    """Return the task whose id begins with `prefix`. Raises CommandError when none or several do."""
    wanted = prefix.replace("-", "").lower()
    found = [task for task in MigrationTask.objects.all() if wanted and task.pk.hex.startswith(wanted)]
    if len(found) != 1:
        count = "No task has" if not found else f"{len(found)} tasks have"
        raise CommandError(f"{count} an id that begins with {prefix}. See: manage.py task list")
    return found[0]
