"""Whatever outlives a worker passes a failpoint, and each failpoint has a test that kills there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations_app.engine.failpoints import POINTS
from tests.faults.failpoint_cases import ELSEWHERE, NOT_KILLED, TALES

TESTS = Path(__file__).parents[1]
APP = TESTS.parent / "migrations_app"
STATEMENTS = {"execute", "executemany", "command", "_command"}
RESULTS = {"release", "finish_step", "cancelled", "recopies_done", "comparison_done", "back_to_sync", "fail"}
FILES = {"unlink", "rmtree", "fsync", "fdatasync", "rename"}
HARMLESS = re.compile(
    r"\s*(SELECT|WITH|SHOW|SET|LOCK|BEGIN|START|SAVEPOINT|RELEASE|ROLLBACK|DISCARD|IDENTIFY_SYSTEM|TIMELINE_HISTORY)\b"
)
LASTING = re.compile(
    r"setval|lo_unlink|lo_create|lo_put|lo_from_bytea|drop_replication_slot|create_\w*replication|emit_message"
    r"|\b(INTO|INSERT|UPDATE|DELETE|TRUNCATE|DROP|CREATE|ALTER)\b"
)
_SETTINGS = "settings of the session"
_READS = "reads: the text comes from elsewhere"
_IN_THE_COPY = "in the transaction that ends at `target.copy`"
_IN_THE_APPLY = "in the transaction that ends at `apply.commit`"
_OWN = "a file that another process of this worker needs while it lives"
_RUNNING = "for charts and running counts: may be lost"
HARMLESS_PLACES = {
    "engine/additions.py:_restore": _SETTINGS,
    "engine/archive.py:_make": "notes of an archive that is made anew",
    "engine/catalog.py:read_tables": _READS,
    "engine/comparing/counting.py:_read": _READS,
    "engine/comparing/hashing.py:fetch": _READS,
    "engine/comparing/moment.py:while_syncing": _READS,
    "engine/comparing/moment.py:_import": _READS,
    "engine/copying.py:_command": _IN_THE_COPY,
    "engine/copying.py:_enter": "locks",
    "engine/copying.py:_leave": "lets locks go",
    "engine/copying.py:copy_over": _IN_THE_COPY,
    "engine/copying.py:copy_whole": _IN_THE_COPY,
    "engine/event_triggers.py:restore_event_triggers": _SETTINGS,
    "engine/extension_rows.py:_dangles": _READS,
    "engine/foreign_keys.py:validate_pending": _SETTINGS,
    "engine/forwarder.py:failure": _OWN,
    "engine/forwarder.py:stop": _OWN,
    "engine/forwarder_process.py:_leave": _OWN,
    "engine/forwarder_process.py:main": _OWN,
    "engine/indexes.py:build_apart": _SETTINGS,
    "engine/indexes.py:build_indexes": _SETTINGS,
    "engine/large_objects.py:_differing": _READS,
    "engine/mapping.py:_pairs": _READS,
    "engine/named_values.py:named_by": _READS,
    "engine/occupied.py:_try": "in the transaction of `target.drop`",
    "engine/password_kept.py:_says": _READS,
    "engine/pgtools.py:_password_file": "goes with the process that needs it; a later start removes the folder",
    "engine/pgtools.py:dump_schema": "what a dump has not finished",
    "engine/pieces.py:dump_whole": "a piece of an archive that is not whole",
    "engine/postdata.py:_build_late.work": _SETTINGS,
    "engine/postdata.py:restore_added": _SETTINGS,
    "engine/postdata.py:restore_deferred": _SETTINGS,
    "engine/postdata.py:restore_rest": _SETTINGS,
    "engine/relay.py:copy": _IN_THE_COPY,
    "engine/relay.py:copy_many": _IN_THE_COPY,
    "engine/row_texts.py:_ask": _READS,
    "engine/replication/bookmark.py:_complete": "in `bookmark.create`, `bookmark.reset` and `bookmark.claim`",
    "engine/replication/pipeline.py:forget": _SETTINGS,
    "engine/replication/pipeline.py:query": _READS,
    "engine/replication/pipeline.py:renew": _SETTINGS,
    "engine/replication/reshaping.py:_silence": _IN_THE_APPLY,
    "engine/replication/reshaping.py:run": _IN_THE_APPLY,
    "engine/replication/row_path.py:_truncate": _IN_THE_APPLY,
    "engine/replication/spool.py:_end_file": "before `spool.file`",
    "engine/replication/spool.py:_recovered": "what a file holds already",
    "engine/replication/spool.py:_sync_folder": "in `spool.file`",
    "engine/replication/tops_followed.py:_read": _READS,
    "engine/replication/transaction.py:begin": _IN_THE_APPLY,
    "engine/restore.py:restore_pre_data": _SETTINGS,
    "engine/schema_rights.py:_refusal": "in `target.grants`",
    "engine/sequences.py:with_states": _READS,
    "engine/one_server.py:_one": _READS,
    "engine/orphans.py:end": "ends sessions that nobody uses any more",
    "engine/silencing.py:quiet_events": _SETTINGS,
    "engine/snapshot.py:_hold": _READS,
    "engine/snapshot.py:_snapshot": "locks",
    "engine/source_setup.py:fix_identities": _READS,
    "runner/decisions.py:additions": _READS,
    "runner/decisions.py:leaves": _READS,
    "runner/decisions.py:permissions": _READS,
    "runner/ledger.py:others": _READS,
    "runner/many_rows.py:write_rows": "in `store.tables` and `ledger.intend`, of those who call it",
    "runner/planning.py:_file": _OWN,
    "runner/planning.py:_scratch": "files of processes that have ended",
    "runner/ports.py:flush": _RUNNING,
    "runner/ports.py:spool": _READS,
    "runner/reading.py:_store_marks": _RUNNING,
}
"""Functions that run a text which the test cannot read, or make something whose loss nobody notices; and why."""


class Finder(ast.NodeVisitor):
    """Finds the functions in which something outlives the worker without a failpoint around it."""

    def __init__(self, module: str, tree: ast.Module) -> None:
        self._module = module
        self._constants = _assigned(tree)
        self._functions: list[ast.FunctionDef] = []
        self._covered = 0
        self.found: set[str] = set()
        self.names: set[str] = set()
        self.visit(tree)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        covered = [one for one in node.decorator_list if self._is_point(one)]
        self._functions.append(node)
        self._inside(node, bool(covered))
        self._functions.pop()

    def visit_With(self, node: ast.With) -> None:
        self._inside(node, any(self._is_point(item.context_expr) for item in node.items))

    def visit_Call(self, node: ast.Call) -> None:
        if not self._covered and self._lasts(node):
            name = ".".join(function.name for function in self._functions) or "module"
            self.found.add(f"{self._module}:{name}")
        self.generic_visit(node)

    def _inside(self, node: ast.AST, covered: bool) -> None:
        self._covered += covered
        self.generic_visit(node)
        self._covered -= covered

    def _is_point(self, node: ast.expr) -> bool:
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "durable"):
            return False
        assert isinstance(node.args[0], ast.Constant), "the name of a failpoint stands where it is used"
        self.names.add(str(node.args[0].value))
        return True

    def _lasts(self, node: ast.Call) -> bool:
        if not isinstance(node.func, ast.Attribute):
            return False
        name = node.func.attr
        if name in STATEMENTS and node.args:
            return not self._is_harmless(node.args[0])
        if name in RESULTS and ast.unparse(node.func.value) == "work":
            return True
        if name == "call" and ast.unparse(node.func.value) == "self._recorder":
            return not (isinstance(node.args[0], ast.Name) and node.args[0].id == "read")
        # `str.replace` takes two arguments.
        return name in FILES or (name == "replace" and len(node.args) == 1 and not node.keywords)

    def _is_harmless(self, argument: ast.expr) -> bool:
        text = self._text(argument)
        return HARMLESS.match(text) is not None and not LASTING.search(text)

    def _text(self, node: ast.expr) -> str:
        """Return what is known of a statement; what is not known is a question mark."""
        if isinstance(node, ast.Constant):
            return node.value.decode() if isinstance(node.value, bytes) else str(node.value)
        if isinstance(node, ast.JoinedStr):
            return "".join(self._text(part) for part in node.values)
        if isinstance(node, ast.BinOp):
            return self._text(node.left) + self._text(node.right)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "encode":
            return self._text(node.func.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "query":
            return "SELECT"  # a file of engine/sql, which another test reads
        if isinstance(node, ast.Name):
            return self._named(node.id)
        return "?"

    def _named(self, name: str) -> str:
        known = [_assigned(function) for function in self._functions[::-1]] + [self._constants]
        for place in known:
            if name in place:
                values, place[name] = place[name], []
                return " or ".join(self._text(value) for value in values) or "?"
        return "?"


def _assigned(tree: ast.AST) -> dict[str, list[ast.expr]]:
    """Return what a function or module assigns to each plain name of its own."""
    found: dict[str, list[ast.expr]] = {}
    nodes = list(ast.iter_child_nodes(tree))
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).append(node.value)
        nodes += ast.iter_child_nodes(node)
    return found


def _modules() -> Iterator[Path]:
    for path in sorted([*APP.glob("engine/**/*.py"), *APP.glob("runner/*.py"), *APP.glob("services/work/*.py")]):
        if "checks" not in path.relative_to(APP).parts and path.name != "failpoints.py":
            yield path


def _finders() -> list[Finder]:
    return [Finder(path.relative_to(APP).as_posix(), ast.parse(path.read_text())) for path in _modules()]


def test_whatever_outlives_a_worker_passes_a_failpoint() -> None:
    found = {place for finder in _finders() for place in finder.found}
    assert found - HARMLESS_PLACES.keys() == set(), "put `durable` around it, or say here why nothing lasts"
    assert HARMLESS_PLACES.keys() - found == set(), "these are no longer there"


def test_the_files_of_statements_only_read() -> None:
    written = [path.name for path in APP.glob("engine/sql/*.sql") if not HARMLESS.match(_bare(path.read_text()))]
    assert written == []


def _bare(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--")).lstrip("(\n ")


def test_the_list_of_failpoints_is_what_the_code_passes() -> None:
    assert {name for finder in _finders() for name in finder.names} == POINTS.keys()


def test_a_worker_is_killed_at_each_failpoint() -> None:
    killed = {case.point for tale in TALES for case in tale.cases}
    assert killed | ELSEWHERE.keys() | NOT_KILLED.keys() == POINTS.keys()
    assert killed & NOT_KILLED.keys() == set()


@pytest.mark.parametrize("point", ELSEWHERE)
def test_each_test_that_kills_at_a_failpoint_is_where_it_is_looked_for(point: str) -> None:
    file, _, name = ELSEWHERE[point].partition("::")
    assert name in {n.name for n in ast.walk(ast.parse((TESTS / file).read_text())) if isinstance(n, ast.FunctionDef)}


@pytest.mark.parametrize(
    "line",
    [
        'connection.execute("DROP TABLE t")',
        'connection.execute(f"SELECT pg_catalog.setval({name}, 1)".encode())',
        "connection.execute(statement)",
        "connection.execute(CHANGE)",
        'self._command("COMMIT", doing)',
        "path.unlink()",
        "unfinished.replace(path)",
        "self._recorder.call(write)",
        "work.finish_step(claim, step)",
    ],
)
def test_something_new_that_lasts_is_found(line: str) -> None:
    module = ast.parse(f'CHANGE = "ALTER TABLE t ADD c int"\ndef new(self):\n    {line}')
    assert Finder("one", module).found == {"one:new"}
    for covered in (
        f'def new(self):\n    with durable("x"):\n        {line}',
        f'@durable("x")\ndef new(self):\n    def inner():\n        {line}',
    ):
        assert Finder("one", ast.parse(covered)).found == set()


@pytest.mark.parametrize(
    "line",
    [
        'connection.execute("SELECT 1")',
        "connection.execute(READ.encode())",
        'connection.execute(query("sequences"), {"oid": 1})',
        'self._command("BEGIN", doing)',
        'text.replace("a", "b")',
        "self._recorder.call(read)",
    ],
)
def test_what_only_reads_needs_no_failpoint(line: str) -> None:
    assert Finder("one", ast.parse(f'READ = "SHOW x"\ndef new(self):\n    {line}')).found == set()
