"""Reads an inventory file. Everything wrong in it is named with its line, and nothing of a wrong file is used.

The file is only composed into nodes, never turned into Python objects: nodes know their lines, and no tag can build
anything.
"""

from __future__ import annotations

from typing import Any

import yaml

from ..engine.wording import say
from ..models import Resource
from .entries import Entry, InventoryError, Problem, Reading
from .hosts import why_no_host, why_no_network

MOST_BYTES = 2_000_000
MOST_ENTRIES = 20_000
_KINDS = [kind for kind, _ in Resource.KINDS]
_STR, _INT = "tag:yaml.org,2002:str", "tag:yaml.org,2002:int"
_COMMON = ("kind", "id", "name")
_INSTANCE = ("region", "vpc", "subnet", "address", "port")
_KEYS: dict[str, tuple[str, ...]] = {
    "region": (),
    "vpc": ("region", "cidr"),
    "subnet": ("region", "vpc", "cidr", "zone"),
    "cvm": (*_INSTANCE, "public_address"),
    "direct_connect_gateway": ("region", "vpc", "address"),
    "vpn_gateway": ("region", "vpc", "address"),
    "vpn_connection": ("region", "vpc", "gateway"),
    "tencentdb": (*_INSTANCE, "version"),
}
_NEEDED: dict[str, tuple[str, ...]] = {
    "region": (),
    "vpc": ("region",),
    "subnet": ("region", "vpc"),
    "cvm": ("region", "address"),
    "direct_connect_gateway": ("region",),
    "vpn_gateway": ("region", "vpc"),
    "vpn_connection": ("region", "gateway"),
    "tencentdb": ("region", "address"),
}
_COLUMNS = {"vpc": "vpc_id", "subnet": "subnet_id", "gateway": "gateway_id", "id": "external_id"}
_ATTRS = ("cidr", "zone", "version", "public_address")
_JUDGES = {"address": why_no_host, "public_address": why_no_host, "cidr": why_no_network}
_LONGEST = {"id": 120, "name": 200, "region": 60, "vpc": 120, "subnet": 120, "gateway": 120, "address": 255}


def read_inventory(text: str) -> Reading:
    """Return what a file says, with everything that is wrong in it. Raises InventoryError for what is no such file."""
    problems: list[Problem] = []
    entries: list[Entry] = []
    doubtful: set[str] = set()
    seen: dict[tuple[str, str, str], int] = {}
    for node in _items(_compose(text)):
        before = len(problems)
        entry = _entry(node, problems)
        if len(problems) > before:
            doubtful.add(_raw_id(node))
        if entry is None:
            continue
        key = (entry.kind, entry.region, entry.external_id)
        if entry.external_id and key in seen:
            said = say("{name} stands in line {line} already", name=f"{entry.kind} {entry.external_id}", line=seen[key])
            problems.append(Problem(entry.line, said))
        seen.setdefault(key, entry.line)
        entries.append(entry)
    return Reading(entries=entries, problems=problems, doubtful=frozenset(doubtful))


def _raw_id(node: yaml.Node) -> str:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((str(value.value) for key, value in pairs if key.value == "id"), "")


def _compose(text: str) -> yaml.Node:
    if len(text.encode(errors="replace")) > MOST_BYTES:
        raise InventoryError([Problem(1, say("the file is larger than {number} MB", number=MOST_BYTES // 1_000_000))])
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.MarkedYAMLError, yaml.reader.ReaderError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or getattr(error, "reason", None) or say("nested too deeply")
        raise InventoryError(
            [Problem(mark.line + 1 if mark else 1, say("not readable as YAML: {words}", words=said))]
        ) from None
    if node is None:
        raise InventoryError([Problem(1, say("the file is empty; it needs a list named resources"))])
    return node


def _items(root: yaml.Node) -> list[yaml.Node]:
    """Return the nodes below `resources`. Raises InventoryError."""
    if not isinstance(root, yaml.MappingNode):
        raise InventoryError([Problem(_line(root), say("the file needs a list named resources at its top"))])
    problems: list[Problem] = []
    pairs = _pairs(root, ("resources",), problems)
    found = pairs.get("resources")
    if found is None:
        problems.append(Problem(_line(root), say("the file needs a list named resources at its top")))
    elif not isinstance(found, yaml.SequenceNode):
        problems.append(Problem(_line(found), say("resources has to be a list")))
    elif len(found.value) > MOST_ENTRIES:
        problems.append(
            Problem(_line(found), say("a file holds at most {number} resources", number=f"{MOST_ENTRIES:,}"))
        )
    if problems or not isinstance(found, yaml.SequenceNode):
        raise InventoryError(problems)
    return list(found.value)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _pairs(node: yaml.MappingNode, allowed: tuple[str, ...], problems: list[Problem]) -> dict[str, yaml.Node]:
    """Return the values by key; a key that is unknown or repeated is a problem."""
    pairs: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
        if name not in allowed:
            problems.append(
                Problem(
                    _line(key), say("unknown key {key}; known here: {names}", key=name[:60], names=", ".join(allowed))
                )
            )
        elif name in pairs:
            problems.append(Problem(_line(key), say("{name} is given twice", name=name)))
        else:
            pairs[name] = value
    return pairs


def _kind(node: yaml.MappingNode, problems: list[Problem]) -> str:
    values = [value for key, value in node.value if isinstance(key, yaml.ScalarNode) and key.value == "kind"]
    if not values:
        problems.append(Problem(_line(node), say("kind is missing; known kinds: {names}", names=", ".join(_KINDS))))
        return ""
    kind = values[0].value if isinstance(values[0], yaml.ScalarNode) else ""
    if kind not in _KINDS:
        problems.append(
            Problem(
                _line(values[0]),
                say("unknown kind {kind}; known kinds: {names}", kind=str(kind)[:60] or "?", names=", ".join(_KINDS)),
            )
        )
        return ""
    return str(kind)


def _entry(node: yaml.Node, problems: list[Problem]) -> Entry | None:
    """Return what one item says as far as it can be read, after adding what is wrong with it; None without a kind."""
    if not isinstance(node, yaml.MappingNode):
        problems.append(Problem(_line(node), say("each resource has to be a mapping that begins with kind and id")))
        return None
    kind = _kind(node, problems)
    if not kind:
        return None
    pairs = _pairs(node, (*_COMMON, *_KEYS[kind]), problems)
    values = {name: _value(name, value, problems) for name, value in pairs.items()}
    problems += [
        Problem(_line(node), say("{kind}: {name} is missing", kind=kind, name=name))
        for name in ("id", *_NEEDED[kind])
        if not values.get(name)
    ]
    if values.get("subnet") and not values.get("vpc"):
        problems.append(Problem(_line(node), say("{kind}: a subnet needs its vpc", kind=kind)))
    columns: dict[str, Any] = {
        _COLUMNS.get(name, name): value for name, value in values.items() if name not in _ATTRS and name != "kind"
    }
    columns.setdefault("external_id", "")
    attrs = {name: str(values[name]) for name in _ATTRS if values.get(name)}
    return Entry(line=_line(node), kind=kind, attrs=attrs, **columns)


def _value(name: str, node: yaml.Node, problems: list[Problem]) -> str | int:
    """Return a text, or the port as a number; '' after adding what is wrong."""
    if name == "port":
        return _port(node, problems)
    if not isinstance(node, yaml.ScalarNode) or node.tag != _STR:
        problems.append(Problem(_line(node), say("{name} has to be a text; put quotes around a number", name=name)))
        return ""
    text = str(node.value)
    if len(text) > _LONGEST.get(name, 200) or text != text.strip():
        problems.append(Problem(_line(node), say("{name} is too long, or has blanks around it", name=name)))
        return ""
    if any(char == "\x00" or "\ud800" <= char <= "\udfff" for char in text):
        problems.append(Problem(_line(node), say("{name} holds a character that cannot be stored", name=name)))
        return ""
    if text and name in _JUDGES and (why := _JUDGES[name](text)):
        problems.append(Problem(_line(node), say("{name}: {why}", name=name, why=why)))
    return text


def _port(node: yaml.Node, problems: list[Problem]) -> str | int:
    text = str(node.value) if isinstance(node, yaml.ScalarNode) and node.tag == _INT else ""
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 6 and 1 <= int(text) <= 65535):
        problems.append(Problem(_line(node), say("port has to be a number from 1 to 65535")))
        return ""
    return int(text)
