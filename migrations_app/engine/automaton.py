"""Regular expressions that cannot run away: no backtracking, and every step of the work is counted.

An expression becomes a small machine (Thompson's construction); the sets of places it can be at are remembered as they
turn up, so a name costs one look-up for each of its characters. Known: literals, `.`, classes, `\\d \\w \\s`, groups,
`|`, `* + ? {m,n}`, `^` and `$`. What needs backtracking (back references, look-around) is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .wording import say

_MOST_PLACES = 1000
_MOST_SETS = 10_000
_MOST_WORK = 5_000_000
_LONGEST_REPEAT = 63

_CHAR, _SPLIT, _BEGIN, _END, _MATCH = range(5)
_CharTest = Callable[[str], bool]


class PatternError(ValueError):
    """The pattern cannot be used; the text says why, for the one who typed it."""


_CLASSES: dict[str, _CharTest] = {
    "d": lambda char: "0" <= char <= "9",
    "w": lambda char: char.isalnum() or char == "_",
    "s": str.isspace,
}
_CONTROL = {"n": "\n", "t": "\t", "r": "\r"}


@dataclass
class _Node:
    kind: int
    test: _CharTest | None = None
    out: list[int] = field(default_factory=list)


class _Builder:
    """Reads an expression and lays out the machine; `fragment` methods return (entry, open exits)."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.nodes: list[_Node] = []

    def build(self) -> int:
        start, exits = self._alternatives()
        if self.at < len(self.text):
            raise PatternError(say("A bracket is closed that was not opened."))
        self._join(exits, self._add(_MATCH))
        return start

    def _add(self, kind: int, test: _CharTest | None = None, out: list[int] | None = None) -> int:
        if len(self.nodes) >= _MOST_PLACES:
            raise PatternError(say("The expression repeats too much."))
        self.nodes.append(_Node(kind, test, out or []))
        return len(self.nodes) - 1

    def _join(self, exits: list[int], to: int) -> None:
        for node in exits:
            self.nodes[node].out.append(to)

    def _peek(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def _take(self) -> str:
        char = self._peek()
        if not char:
            raise PatternError(
                say(
                    "The expression ends too early. Close every bracket, and put a character behind a backslash "
                    "at its end."
                )
            )
        self.at += 1
        return char

    def _alternatives(self) -> tuple[int, list[int]]:
        branches = [self._sequence()]
        while self._peek() == "|":
            self.at += 1
            branches.append(self._sequence())
        if len(branches) == 1:
            return branches[0]
        split = self._add(_SPLIT, out=[entry for entry, _ in branches])
        return split, [node for _, exits in branches for node in exits]

    def _sequence(self) -> tuple[int, list[int]]:
        start = last = self._add(_SPLIT)
        exits = [last]
        while self._peek() not in ("", "|", ")"):
            entry, after = self._repeated()
            self._join(exits, entry)
            exits = after
        return start, exits

    def _repeated(self) -> tuple[int, list[int]]:
        begin = self.at
        entry, exits = self._atom()
        end = self.at
        bounds = self._bounds()
        if bounds is None:
            return entry, exits
        if self._peek() in ("*", "+", "?"):
            raise PatternError(say("Two repetitions follow each other."))
        return self._copies(begin, end, *bounds)

    def _bounds(self) -> tuple[int, int | None] | None:
        char = self._peek()
        if char in ("*", "+", "?") and char:
            self.at += 1
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
        if char != "{":
            return None
        close = self.text.find("}", self.at)
        low, comma, high = self.text[self.at + 1 : close].partition(",") if close > 0 else ("", "", "")
        if not low.isdecimal() or (high and not high.isdecimal()) or len(low + high) > 4:
            raise PatternError(say("A repetition is written {{2}}, {{2,}} or {{2,5}}."))
        self.at = close + 1
        least, most = int(low), (int(high) if high else None) if comma else int(low)
        if max(least, most or 0) > _LONGEST_REPEAT or (most is not None and most < least):
            raise PatternError(say("A repetition goes up to {most}, the smaller number first.", most=_LONGEST_REPEAT))
        return least, most

    def _copies(self, begin: int, end: int, least: int, most: int | None) -> tuple[int, list[int]]:
        """Lay the atom at `begin` out as often as its repetition says; the reading goes on where it was."""
        resume = self.at
        start = self._add(_SPLIT)
        exits = [start]
        for _ in range(least):
            entry, after = self._again(begin)
            self._join(exits, entry)
            exits = after
        if most is None:
            loop = self._add(_SPLIT)
            self._join(exits, loop)
            entry, after = self._again(begin)
            self.nodes[loop].out.append(entry)
            self._join(after, loop)
            exits = [loop]
        else:
            skipped: list[int] = []
            for _ in range(most - least):
                choice = self._add(_SPLIT)
                self._join(exits, choice)
                entry, exits = self._again(begin)
                self.nodes[choice].out.append(entry)
                skipped.append(choice)
            exits = exits + skipped
        self.at = resume
        return start, exits

    def _again(self, begin: int) -> tuple[int, list[int]]:
        self.at = begin
        return self._atom()

    def _atom(self) -> tuple[int, list[int]]:
        char = self._take()
        if char == "(":
            return self._group()
        if char in "*+?{":
            raise PatternError(say("There is nothing before {char} that could be repeated.", char=char))
        if char in "^$":
            node = self._add(_BEGIN if char == "^" else _END)
            return node, [node]
        node = self._add(_CHAR, self._char_test(char))
        return node, [node]

    def _group(self) -> tuple[int, list[int]]:
        if self.text.startswith("?:", self.at):
            self.at += 2
        elif self._peek() == "?":
            raise PatternError(say("Look-around and named groups are not supported."))
        self.depth += 1
        if self.depth > 20:
            raise PatternError(say("Groups are nested too deeply."))
        inner = self._alternatives()
        if self._peek() != ")":
            raise PatternError(say("A bracket is not closed."))
        self.at += 1
        self.depth -= 1
        return inner

    def _char_test(self, char: str) -> _CharTest:
        if char == ".":
            return lambda seen: True
        if char == "[":
            return self._class()
        if char == "\\":
            return self._escape()
        return lambda seen: seen == char

    def _escape(self) -> _CharTest:
        char = self._take()
        if char.lower() in _CLASSES:
            test = _CLASSES[char.lower()]
            return (lambda seen: not test(seen)) if char.isupper() else test
        if char.isalnum() and char not in _CONTROL:
            raise PatternError(say("{text} is not supported.", text=f"\\{char}"))
        wanted = _CONTROL.get(char, char)
        return lambda seen: seen == wanted

    def _class(self) -> _CharTest:
        negated = self._peek() == "^"
        self.at += negated
        tests: list[_CharTest] = []
        while not (self._peek() == "]" and tests):
            tests.append(self._class_member())
        self.at += 1
        return lambda seen: any(test(seen) for test in tests) != negated

    def _class_member(self) -> _CharTest:
        low = self._take()
        if low == "\\":
            return self._escape()
        if low == "[" and self._peek() in (":", ".", "="):
            raise PatternError(say("Named classes are not supported; write [a-z] or \\d."))
        if self._peek() != "-" or self.text[self.at + 1 : self.at + 2] in ("", "]"):
            return lambda seen: seen == low
        self.at += 1
        high = self._take()
        if high == "\\" or high < low:
            raise PatternError(say("The range {low}-{high} is not in order.", low=low, high=high))
        return lambda seen: low <= seen <= high


class _Stop:
    """A set of places that a name can be at. `hit`: one of them ends; `dead`: nothing that follows can match."""

    __slots__ = ("after", "at_end", "dead", "hit", "places")

    def __init__(self, places: frozenset[int], hit: bool) -> None:
        self.places = places
        self.hit = hit
        self.dead = not places and not hit  # every set holds what a new beginning reaches: then there is none either
        self.after: dict[str, _Stop] = {}
        self.at_end: bool | None = None  # whether the end of the name matches; None = not asked yet


class Automaton:
    """One expression, ready to be looked for in names. Raises PatternError when it cannot be read."""

    def __init__(self, text: str) -> None:
        builder = _Builder(text)
        self._start = builder.build()
        self._nodes = builder.nodes
        self._stops: dict[tuple[frozenset[int], bool], _Stop] = {}
        self._steps = 0
        self._work = 0
        self._first = self._closure([], begin=True)

    def found_in(self, name: str) -> bool:
        """Say whether the expression matches anywhere in `name`.

        Raises PatternError when the expression turns out to need more work than is allowed over its life; the work
        is counted, not timed, so the same names give the same answer on any machine.
        """
        stop = self._first
        if stop.hit:
            return True
        for char in name:
            stop = stop.after.get(char) or self._step(stop, char)
            if stop.hit:
                return True
            if stop.dead:
                return False
        if not name:
            return self._matches_at_end(stop, begin=True)
        if stop.at_end is None:
            stop.at_end = self._matches_at_end(stop, begin=False)
        return stop.at_end

    def _step(self, stop: _Stop, char: str) -> _Stop:
        moved: list[int] = []
        for place in stop.places:
            node = self._nodes[place]
            if node.kind == _CHAR and node.test is not None and node.test(char):
                moved += node.out
        self._spend(len(stop.places))
        found = self._closure(moved, begin=False)
        if self._steps >= _MOST_SETS:
            self._forget()
        self._steps += 1
        stop.after[char] = found
        return found

    def _forget(self) -> None:
        for known in self._stops.values():
            known.after.clear()
        self._stops.clear()
        self._first.after.clear()
        self._steps = 0

    def _closure(self, starts: list[int], *, begin: bool) -> _Stop:
        """Return every place reachable without a character, a new beginning included, and whether one of them ends."""
        seen: set[int] = set()
        todo = [*starts, self._start]
        while todo:
            place = todo.pop()
            if place in seen:
                continue
            seen.add(place)
            node = self._nodes[place]
            if node.kind == _SPLIT or (node.kind == _BEGIN and begin):
                todo += node.out
        self._spend(len(seen))
        hit = any(self._nodes[place].kind == _MATCH for place in seen)
        places = frozenset(place for place in seen if self._nodes[place].kind in (_CHAR, _END))
        return self._stops.setdefault((places, hit), _Stop(places, hit))

    def _matches_at_end(self, stop: _Stop, *, begin: bool) -> bool:
        """`begin`: the name is empty, so its end is its beginning as well."""
        passed = {_SPLIT, _END, _BEGIN} if begin else {_SPLIT, _END}
        seen: set[int] = set()
        todo = [place for place in stop.places if self._nodes[place].kind == _END]
        while todo:
            place = todo.pop()
            if place not in seen:
                seen.add(place)
                if self._nodes[place].kind in passed:
                    todo += self._nodes[place].out
        self._spend(len(seen))
        return any(self._nodes[place].kind == _MATCH for place in seen)

    def _spend(self, work: int) -> None:
        self._work += work
        if self._work > _MOST_WORK:
            raise PatternError(say("The expression is too expensive. Write it simpler, without nested repetitions."))
