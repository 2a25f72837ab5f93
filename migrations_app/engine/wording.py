"""Sentences that remember how they were made, so that a console can tell them in another language.

The engine speaks English. A `Sentence` is that English text, and beside it plain data that survives JSON: the template
and the values that were put into it. `retell` makes the text again from that data in any language whose catalogue has
the template. What comes from a server is a value and never a template, so it is shown word for word.
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_PLACE = re.compile(r"\{\{|\}\}|\{(\w+)\}")


class Sentence(str):
    """English text with the data that it was made from (`how`): a string, or a mapping as `say` and its like write."""

    __slots__ = ("how",)
    how: Any

    def __new__(cls, text: str, how: Any = None) -> Sentence:
        made = super().__new__(cls, text)
        made.how = text if how is None else how
        return made

    def __add__(self, other: str) -> Sentence:
        """Return both one after the other; what stands between them belongs to one of them."""
        return _made({"parts": [self.how, how(other)]})

    def __reduce__(self) -> tuple[type[Sentence], tuple[str, Any]]:
        return Sentence, (str(self), self.how)


def printable(text: str, limit: int = 300) -> str:
    """Return a server's words fit for a page or a log: one line, no control characters, cut at `limit`."""
    return _cut(text, limit).strip()


def _cut(text: str, limit: int = 200) -> str:
    return "".join(ch if ch.isprintable() else " " for ch in text[:limit])


def one_line(text: str) -> str:
    """Return text with line breaks, control and other invisible characters as escapes: for terminals, logs, files."""
    if text.isprintable():
        return text
    return "".join(_escaped(char) if unicodedata.category(char) in _INVISIBLE else char for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def in_lines(english: str, data: Any) -> list[str]:
    """Return the lines of an English text whose data (`how`) is known, None if not: a value never begins a line."""
    text = one_line(english)
    if data is not None:
        with contextlib.suppress(KeyError, TypeError, ValueError):  # written by another version
            text = retell(changed(data, _within_line))
    return [one_line(line) for line in text.split("\n")]


def _within_line(value: str) -> str:
    return value if value == "\n" else one_line(value)  # the one value by which we begin lines ourselves


def template(text: str) -> str:
    """Mark a literal as a template that is said later, so that `make messages` collects it."""
    return text


def say(template: str, **values: object) -> Sentence:
    """Return the sentence of a template; `{name}` stands for a value, which may be a sentence itself.

    The template must be a literal, here or where `template` marks it: `make messages` collects it. Values that it does
    not name are left out. Raises KeyError for a place without a value.
    """
    named = set(_PLACE.findall(template))
    return _made({"say": template, "with": {name: how(value) for name, value in values.items() if name in named}})


def closed(text: str) -> str:
    """Return the text with a full stop unless it ends a sentence already, so that another can follow it.

    Words of a server come without one.
    """
    return text if text.endswith((".", "!", "?")) else say("{text}.", text=text)


def count(number: int, one: str, many: str) -> Sentence:
    """Return `one` or `many` with `{number}` in its place; both must be literals."""
    return _made({"one": one, "many": many, "number": number})


def listing(names: Iterable[str], limit: int = 20) -> Sentence:
    """Return the first names joined by commas, and how many more there are."""
    known = list(names)
    shown = [how(_short(name)) for name in known[:limit]]
    return _made({"list": shown, "more": max(0, len(known) - limit)})


def _short(name: str) -> str:
    # A sentence's values are also what stands between its parts, such as ": ", which keeps its blank.
    return rewritten(name, _cut) if isinstance(name, Sentence) else printable(name, 200)


def pair(names: Iterable[str]) -> Sentence:
    """Return all names joined by `and`."""
    first, *rest = names
    told = verbatim(first)
    for name in rest:
        told = say("{names} and {name}", names=told, name=name)
    return told


def together(parts: Iterable[str], by: str = " ") -> Sentence:
    """Return texts one after the other with `by` between them, the same in every language."""
    told: list[Any] = []
    for part in parts:
        told += [by, how(part)] if told else [how(part)]
    return _made({"parts": told})


def verbatim(text: str) -> Sentence:
    """Return text that is the same in every language, or a sentence as it is."""
    return text if isinstance(text, Sentence) else Sentence(text)


def how(value: object) -> Any:
    """Return what a value is kept as: a number or text as it is, a sentence as its data."""
    if isinstance(value, Sentence):
        return value.how
    return value if isinstance(value, int | float) else str(value)


def as_data(**texts: str) -> dict[str, Any]:
    """Return the data of those texts that can be told in another language, by name; survives JSON."""
    return {name: text.how for name, text in texts.items() if isinstance(text, Sentence) and text.how != str(text)}


def changed(data: Any, change: Callable[[str], str]) -> Any:
    """Return a sentence's data with `change` done to each of its values; templates stay as they are."""
    if isinstance(data, str):
        return change(data)
    if not isinstance(data, dict):
        return data
    for name in ("list", "parts"):
        if name in data:
            return {**data, name: [changed(one, change) for one in data[name]]}
    if "with" in data:
        return {**data, "with": {name: changed(one, change) for name, one in data["with"].items()}}
    return data


def rewritten(text: Sentence, change: Callable[[str], str]) -> Sentence:
    """Return a sentence with `change` done to each of its values."""
    return _made(changed(text.how, change))


def called(sentence: Sentence, word: str, name: Sentence) -> Sentence:
    """Return a sentence in which one of our words for a thing (`noun`) is another one."""

    def change(data: Any) -> Any:
        if data == noun(word).how:
            return name.how
        if isinstance(data, dict):
            return {key: change(value) for key, value in data.items()}
        return [change(value) for value in data] if isinstance(data, list) else data

    return _made(change(sentence.how))


def retell(
    data: Any,
    one: Callable[[str], str] = str,
    many: Callable[[str, str, int], str] = lambda one, many, number: one if number == 1 else many,
) -> str:
    """Make a sentence from its data; `one` and `many` translate a template, English by default.

    Raises KeyError, TypeError or ValueError for data that no sentence has, or a translation with a place of its own.
    """
    if not isinstance(data, Mapping):
        return str(data)
    if "say" in data:
        values = {name: retell(value, one, many) for name, value in data["with"].items()}
        return filled(one(data["say"]), values)
    if "parts" in data:
        return "".join(retell(part, one, many) for part in data["parts"])
    if "list" in data:
        names = one("{names}, {name}")
        text = ""
        for name in data["list"]:
            told = retell(name, one, many)
            text = filled(names, {"names": text, "name": told}) if text else told
        return (
            filled(one("{names} and {number} more"), {"names": text, "number": data["more"]}) if data["more"] else text
        )
    return filled(many(data["one"], data["many"], data["number"]), {"number": f"{data['number']:,}"})


def filled(template: str, values: Mapping[str, object]) -> str:
    """Return a template with its places filled; a doubled brace is a brace. Raises KeyError."""

    def place(match: re.Match[str]) -> str:
        return str(values[match[1]]) if match[1] else match[0][0]

    return _PLACE.sub(place, template)


def _made(data: Any) -> Sentence:
    return Sentence(retell(data), data)


NOTHING = verbatim("")
_NOUNS = {
    str(noun): noun
    for noun in (
        say("source"),
        say("target"),
        say("table"),
        say("foreign table"),
        say("view"),
        say("materialized view"),
        say("sequence"),
        say("index"),
        say("type"),
        say("function"),
        say("cast"),
        say("text search parser"),
        say("text search template"),
        say("operator class"),
        say("access method"),
        say("foreign-data wrapper"),
        say("publication"),
        say("subscription"),
        say("extension"),
        say("unknown"),
        say("slot"),
        say("replica identity"),
        say("database"),
        say("schema"),
        say("object"),
        say("large objects"),
        say("file"),
        say("Passed"),
        say("Warning"),
        say("Failed"),
        say("viewer"),
        say("operator"),
        say("admin"),
        say("column"),
        say("constraint"),
        say("trigger"),
        say("rule"),
        say("policy"),
        say("row security"),
        say("procedure"),
        say("aggregate"),
        say("domain"),
        say("enum"),
        say("composite type"),
        say("range type"),
        say("base type"),
        say("shell type"),
        say("collation"),
        say("conversion"),
        say("operator family"),
        say("language"),
        say("transform"),
        say("event trigger"),
        say("default privileges"),
        say("statistics object"),
        say("security label"),
        say("text search configuration"),
        say("text search dictionary"),
        say("user mapping"),
        say("foreign data wrapper"),
        say("foreign server"),
        say("foreign key"),
        say("large object"),
        say("role"),
        say("owner"),
        say("structure"),
        say("definition"),
        say("privileges"),
        say("rights taken"),
        say("comment"),
        say("default"),
        say("not null"),
        say("generated"),
        say("identity"),
        say("enabled"),
        say("triggers off"),
        say("persistence"),
        say("tablespace"),
        say("partition"),
        say("partition key"),
        say("parents"),
        say("options"),
        say("toast options"),
        say("settings"),
        say("labels"),
        say("body"),
        say("library"),
        say("arguments"),
        say("returns"),
        say("foreign options"),
        say("compression"),
        say("storage"),
        say("statistics target"),
        say("volatility"),
        say("parallel"),
        say("strict"),
        say("leakproof"),
        say("security definer"),
        say("cost"),
        say("rows"),
        say("version"),
        say("stored"),
        say("clustered"),
        say("forced"),
        say("deterministic"),
        say("provider"),
        say("locale"),
        say("locale provider"),
        say("character types"),
        say("encoding"),
        say("rules"),
        say("connection limit"),
        say("start"),
        say("increment"),
        say("minimum"),
        say("maximum"),
        say("cache"),
        say("cycle"),
        say("owned by"),
        say("attributes"),
        say("constraints"),
        say("functions"),
        say("operators"),
        say("mappings"),
        say("using"),
        say("with check"),
        say("permissive"),
        say("command"),
        say("roles"),
        say("event"),
        say("tags"),
        say("of type"),
    )
}


def noun(word: object) -> Sentence:
    """Return a word of ours so that it can be told elsewhere too: a side, a kind of object, a part of a definition."""
    return _NOUNS.get(str(word)) or verbatim(str(word))
