"""The local inventory: rows of ours, and what importing a file would change in them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import Any

from ..engine.values import frozen
from ..engine.wording import say
from ..models import Resource
from .entries import Entry, Problem

PROVIDER = "local"
_COMPARED = ("name", "vpc_id", "subnet_id", "gateway_id", "address", "port", "attrs")


class LocalDirectory:
    """Answers from our own rows; nothing is asked over the network."""

    def listed(self, kind: str, region: str, **filters: str) -> list[Resource]:
        """Return the rows of one kind in one region, by name."""
        return list(Resource.objects.filter(provider=PROVIDER, kind=kind, region=region, **filters))

    def find(self, kind: str, region: str, external_id: str) -> Resource | None:
        """Return one row, or None."""
        return next(iter(self.listed(kind, region, external_id=external_id)), None)


@frozen
class Change:
    """One row that an import would make or change. `fields`: (name, before, after), empty for a new row."""

    entry: Entry
    fields: list[tuple[str, Any, Any]] = field(default_factory=list)


@frozen
class Plan:
    """What an import would do. Rows that the file does not name are left alone."""

    added: list[Change]
    changed: list[Change]
    same: int

    @property
    def is_empty(self) -> bool:
        """Whether nothing would change."""
        return not self.added and not self.changed


def _key(row: Entry | Resource) -> tuple[str, str, str]:
    return row.kind, row.region, row.external_id


def plan_import(entries: Iterable[Entry]) -> Plan:
    """Compare a file's entries with the rows that are there. Reads only."""
    rows = {_key(row): row for row in Resource.objects.filter(provider=PROVIDER)}
    added, changed, same = [], [], 0
    for entry in entries:
        row = rows.get(_key(entry))
        if row is None:
            added.append(Change(entry=entry))
            continue
        pairs = [(name, getattr(row, name), getattr(entry, name)) for name in _COMPARED]
        differing = [(name, before, after) for name, before, after in pairs if before != after]
        if differing:
            changed.append(Change(entry=entry, fields=differing))
        else:
            same += 1
    return Plan(added=added, changed=changed, same=same)


def missing_parents(entries: Iterable[Entry], *, doubtful: frozenset[str] = frozenset()) -> list[Problem]:
    """Return one problem for each entry whose region, network or gateway neither the file nor our rows hold.

    `doubtful`: ids that are not asked for, because what the file says of them is wrong in itself.
    """
    entries = list(entries)
    there = {_key(row) for row in Resource.objects.filter(provider=PROVIDER)} | {_key(entry) for entry in entries}
    rows: list[Entry | Resource] = [*Resource.objects.filter(provider=PROVIDER, kind="subnet"), *entries]
    subnets = {(row.region, row.external_id): row.vpc_id for row in rows if row.kind == "subnet"}
    problems = []
    for entry in entries:
        if not entry.region and entry.external_id in doubtful:  # nobody knows where to look for its parents
            continue
        problems += [
            Problem(
                entry.line,
                say(
                    "{name}: there is no {kind} {value}",
                    name=f"{entry.kind} {entry.external_id}",
                    kind=kind,
                    value=value,
                ),
            )
            for kind, region, value in _parents(entry)
            if (kind, region, value) not in there and value not in doubtful
        ]
        home = subnets.get((entry.region, entry.subnet_id), entry.vpc_id)
        if entry.subnet_id and home != entry.vpc_id and not {entry.subnet_id, entry.external_id} & doubtful:
            text = say(
                "{name}: subnet {subnet} is in {home}, not in {vpc}",
                name=f"{entry.kind} {entry.external_id}",
                subnet=entry.subnet_id,
                home=home,
                vpc=entry.vpc_id,
            )
            problems.append(Problem(entry.line, text))
    return problems


def _parents(entry: Entry) -> list[tuple[str, str, str]]:
    parents = [] if entry.kind == "region" else [("region", "", entry.region)]
    for kind, value in (("vpc", entry.vpc_id), ("subnet", entry.subnet_id), ("vpn_gateway", entry.gateway_id)):
        if value:
            parents.append((kind, entry.region, value))
    return parents
