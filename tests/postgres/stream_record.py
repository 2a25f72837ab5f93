"""What was played of a random stream, as SQL: written down when it failed, and read to play it again.

Lines that begin with `-- @` say what is to be done with the SQL below.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

REGRESS = Path(__file__).resolve().parents[1] / "regress"


@dataclass(frozen=True)
class Step:
    """What is played: `commit` or `rollback` of statements, or `follow` with a fault ("kill target 3")."""

    word: str
    statements: tuple[str, ...] = ()
    fault: str = ""


@dataclass
class Record:
    """A stream as it was really played. `options`: words that say how."""

    setup: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    options: set[str] = field(default_factory=set)

    def text(self, about: str) -> str:
        """Return it as SQL."""
        lines = [
            *(f"-- {line}" for line in about.splitlines()),
            f"-- @options {' '.join(sorted(self.options))}".rstrip(),
        ]
        lines += ["", "-- @setup", *(f"{statement};" for statement in self.setup)]
        for step in self.steps:
            lines += ["", f"-- @{step.word} {step.fault}".rstrip(), *(f"{one};" for one in step.statements)]
        return "\n".join(lines) + "\n"

    @classmethod
    def read(cls, text: str) -> Record:
        """Read what `text` has written, or somebody by hand."""
        record = cls()
        for part in re.split(r"^-- @", text, flags=re.MULTILINE)[1:]:
            head, _, body = part.partition("\n")
            word, _, rest = head.partition(" ")
            statements = tuple(one for one in re.split(r";\n", body.strip() + "\n") if one.strip())
            if word == "options":
                record.options = set(rest.split())
            elif word == "setup":
                record.setup = list(statements)
            else:
                record.steps.append(Step(word, statements, rest))
        return record


def write_down(record: Record, name: str, error: BaseException) -> Path:
    """Keep what failed among the regressions, by a name that the next failure takes over."""
    path = REGRESS / f"{name}.sql"
    path.write_text(record.text(f"Found by tests/postgres/test_random_streams.py: {str(error)[:500]}"))
    return path
