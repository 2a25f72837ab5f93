"""Texts that the engine and the services tell people are sentences, so that every reader can have them translated."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations_app import services

APP = Path(services.__file__).parents[1]
ROOMS = ("engine", "runner", "services", "sources")
# What is called -> where its texts are: a place among the arguments, or a name.
TEXTS: dict[str, tuple[int | str, ...]] = {
    "event": (2, "message"),
    "note": (1, "message"),
    "move": ("message",),
    "step_progress": (2, "note"),
    "translate": (2, "doing"),
    "server_error": (3, "doing"),
    "raise_unless_refused": (2, "doing"),
    "_reporting": (0,),
    "command": ("context",),
    "TableDifference": ("reason",),
    "Difference": ("what",),
    "Note": ("what", "words"),
    "Cause": ("label", "hint"),
    "Line": ("why",),
    "Left": ("reason",),
    "InventoryDatabase": ("reason",),
    "InventorySchema": ("reason",),
    "InventoryTable": ("reason",),
    "DatabaseFacts": ("unknown",),
    "SourceFacts": ("failure", "hint", "replication_refused"),
    "PatternError": (0,),
    "Vanished": (0, 1),
    "Problem": (1,),
}
ERROR: tuple[int | str, ...] = (0, "message", "hint")


def modules() -> Iterator[tuple[str, ast.Module]]:
    for room in ROOMS:
        for path in sorted((APP / room).rglob("*.py")):
            yield str(path.relative_to(APP)), ast.parse(path.read_text())


def name_of(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def errors(trees: list[ast.Module]) -> set[str]:
    """The names of EngineError and of everything that is one."""
    bases: dict[str, set[str]] = {}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases.setdefault(node.name, set()).update(name_of(base) for base in node.bases)
    found = {"EngineError"}
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return found


def is_plain(node: ast.expr | None, known: dict[str, list[ast.expr]]) -> bool:
    """Whether a text is written where it is used, without `say`; names are looked up in their function."""
    if isinstance(node, ast.JoinedStr):
        return True
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and any(char.isalpha() for char in node.value)
    if isinstance(node, ast.BinOp):
        return is_plain(node.left, known) or is_plain(node.right, known)
    if isinstance(node, ast.IfExp):
        return is_plain(node.body, known) or is_plain(node.orelse, known)
    if isinstance(node, ast.BoolOp):
        return any(is_plain(value, known) for value in node.values)
    if isinstance(node, ast.Name):
        return any(is_plain(value, {}) for value in known.get(node.id, []))
    return False


def assigned(function: ast.AST) -> dict[str, list[ast.expr]]:
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                found.setdefault(name_of(target), []).append(node.value)
    return found


def texts(call: ast.Call, places: tuple[int | str, ...]) -> Iterator[ast.expr]:
    for place in places:
        if isinstance(place, int):
            yield from call.args[place : place + 1]
        else:
            yield from (word.value for word in call.keywords if word.arg == place)


def plain_texts(tree: ast.Module, of_errors: set[str]) -> Iterator[int]:
    """The lines of a module on which a text of ours is told that nobody can translate."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for scope in [tree, *functions]:
        known = assigned(scope) if scope is not tree else {}
        for node in ast.walk(scope):
            if isinstance(node, ast.Call):
                name = name_of(node.func)
                places = TEXTS.get(name, ()) + (ERROR if name in of_errors else ())
                if any(is_plain(text, known) for text in texts(node, places)):
                    yield node.lineno


def test_every_text_of_the_engine_and_of_the_services_is_a_sentence() -> None:
    found = dict(modules())
    of_errors = errors(list(found.values()))
    assert {"ConflictError", "SlotLost", "MalformedMessage", "FixFailed", "CompleteRefused"} <= of_errors
    plain = {f"{name}:{line}" for name, tree in found.items() for line in plain_texts(tree, of_errors)}
    assert sorted(plain) == [], "say it with `say` of engine.wording, and translate it in locale/"


@pytest.mark.parametrize(
    "code",
    [
        "raise SlotLost(f'The slot {name} is gone.')",
        "raise SlotLost(say('Gone.'), hint='Start again.')",
        "run.ports.store.event('info', 'CODE', 'All is well.')",
        "def tell(run):\n    text = f'{run} is well.'\n    run.ports.store.event('info', 'CODE', text)",
        "TableDifference(schema='', name='t', verdict='differs', reason='missing' if gone else say('other'))",
        "Note(database='d', kind='k', name='n', what='refused: ' + words)",
    ],
)
def test_a_text_that_cannot_be_translated_is_found(code: str) -> None:
    assert list(plain_texts(ast.parse(code), {"EngineError", "SlotLost"}))


@pytest.mark.parametrize(
    "code",
    [
        "raise SlotLost(say('The slot {name} is gone.', name=name), code='X')",
        "run.ports.store.event('info', 'CODE', say('All is well.'))",
        "Note(database='d', kind='k', name='n', what=NOTHING, statement=f'DROP ROLE {name}')",
    ],
)
def test_a_sentence_is_left_alone(code: str) -> None:
    assert not list(plain_texts(ast.parse(code), {"EngineError", "SlotLost"}))
