"""Privileges of the restored objects: a role that is missing on the target costs only its own grants."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from .archive import Archive
from .connect import Connection
from .failpoints import durable
from .names import quote
from .outcome import Run
from .plan import DatabasePlan, Side
from .ports import EntryState, Kind
from .restore import Failure, Manner, entry_state, run_entries, run_one
from .target_objects import some
from .toc import Entry
from .wording import count, say

_PUBLIC_CLOSED_SINCE = 150000
_GRANTOR = b"SET SESSION AUTHORIZATION "
# As any other role whose name it may take, a superuser grants in somebody else's name. Where that is not possible the
# same right is granted in the owner's.
_NAMING_THEM = (_GRANTOR, b"RESET ")
_NAMING = re.compile(rb"^(RE)?SET SESSION AUTHORIZATION\b")
# A quoted name or literal is one piece, so a semicolon inside it does not end the statement.
_PIECES = re.compile(rb"""(?:"(?:[^"]|"")*"|'(?:[^']|'')*'|[^"';])+;?""")


def _in_their_name(entry: Entry) -> bytes:
    """Return the grants of an entry, those of others than the owner by SET ROLE, for which no superuser is needed."""
    if _GRANTOR.rstrip() not in entry.definition:
        return entry.definition
    return b"\n".join(_NAMING.sub(rb"\1SET ROLE", text) for text in statements(entry.definition))


_TOLERANT = Manner(is_fatal=lambda entry: False, repeatable=True, text=_in_their_name)


def restore_rights(
    run: Run, database: DatabasePlan, connection: Connection, archive: Archive, theirs: set[int]
) -> None:
    """Run the grants and default privileges of the archive; list those that the target refuses. Idempotent.

    `theirs`: dump ids of what was there before (see `target_objects.kept`), which keeps the grants that it has. What
    takes rights from an owner comes last, by `restore_own_rights`: an ordinary account works with an owner's rights.
    """
    _open_renamed_public(run, database, connection, archive)
    _close_public(run, database, connection, archive)
    entries = [one for one in archive.of_type("DEFAULT ACL", "ACL") if theirs.isdisjoint(one.depends_on)]
    plain = connection.info.parameter_status("is_superuser") != "on"
    held = [one for one in entries if plain and _takes_from_owner(one)]
    # What others have by these is there at once: they may have passed it on. What is refused is told at the end.
    run_entries(run, connection, held, replace(_TOLERANT, text=_without_taking))
    later = {one.dump_id for one in held}
    _run_grants(run, database, connection, [one for one in entries if one.dump_id not in later])


def restore_own_rights(
    run: Run, database: DatabasePlan, connection: Connection, archive: Archive, theirs: set[int]
) -> None:
    """Run what `restore_rights` left to the end. Otherwise the same."""
    _run_grants(run, database, connection, _of_owners(archive, theirs))


def give_back_own_rights(run: Run, connection: Connection, archive: Archive, theirs: set[int]) -> None:
    """Let owners have what `restore_own_rights` took from them, until it is done again. Idempotent.

    What the target refuses was refused when it was to be taken, and told then.
    """
    run_entries(run, connection, _of_owners(archive, theirs), replace(_TOLERANT, text=_given_back))


def _of_owners(archive: Archive, theirs: set[int]) -> list[Entry]:
    return [one for one in archive.of_type("ACL") if theirs.isdisjoint(one.depends_on) and _takes_from_owner(one)]


def _given_back(entry: Entry) -> bytes:
    ends = _from_owner(entry)
    taken = [text for text in statements(entry.definition) if text.startswith(b"REVOKE ") and text.endswith(ends)]
    owner = quote(entry.owner).encode()
    return b"\n".join(
        b"GRANT " + text.removeprefix(b"REVOKE ").rpartition(b" FROM ")[0] + b" TO " + owner + b";" for text in taken
    )


def _without_taking(entry: Entry) -> bytes:
    ends = _from_owner(entry)
    kept = [one for one in statements(entry.definition) if not (one.startswith(b"REVOKE ") and one.endswith(ends))]
    return _in_their_name(replace(entry, definition=b"\n".join(kept)))


def _takes_from_owner(entry: Entry) -> bool:
    ends = _from_owner(entry)
    return entry.type == "ACL" and any(
        text.startswith(b"REVOKE ") and text.endswith(ends) for text in statements(entry.definition)
    )


def _from_owner(entry: Entry) -> tuple[bytes, ...]:
    return tuple(b" FROM " + name + b";" for name in (entry.owner.encode(), quote(entry.owner).encode()))


def _run_grants(run: Run, database: DatabasePlan, connection: Connection, entries: list[Entry]) -> None:
    refused: list[Failure] = []
    for failure in run_entries(run, connection, entries, _TOLERANT):
        texts = list(statements(failure.entry.definition))
        found = [failure] if len(texts) == 1 else run_statements(run, connection, failure.entry, texts)
        found = [one for one in found if not one.entry.definition.startswith(_NAMING_THEM)]
        if _GRANTOR in failure.entry.definition:
            found = run_statements(run, connection, failure.entry, [one.entry.definition for one in found])
        refused += found
    if refused:
        run.ports.store.save_entries(*_states(database, refused))
        run.ports.store.event(
            "warning",
            "SCHEMA-RIGHTS",
            say(
                "{number} of database {target_name} could not be restored: {names}.",
                number=count(len(refused), "{number} grant", "{number} grants"),
                target_name=database.target_name,
                names=some(f"{_sql(it.entry)} ({it.words})" for it in refused),
            ),
            statements=[_sql(it.entry) for it in refused[:500]],
        )


def _states(database: DatabasePlan, refused: list[Failure]) -> list[EntryState]:
    """Return one state an entry, with the words about each of its statements that was refused."""
    words: dict[int, list[str]] = defaultdict(list)
    for failure in refused:
        words[failure.entry.dump_id].append(failure.words)
    entries = {failure.entry.dump_id: failure.entry for failure in refused}
    return [entry_state(database, entries[key], error="; ".join(dict.fromkeys(words[key]))) for key in entries]


def _open_renamed_public(run: Run, database: DatabasePlan, connection: Connection, archive: Archive) -> None:
    """Let everybody look into what was `public`: a dump tells only how its rights are other than usual there."""
    name = archive.renaming.schema("public")
    items = run.ports.ledger.items(Side.TARGET, database.target_name, {Kind.SCHEMA})
    if name != "public" and any(item.name == name for item in items):
        with durable("target.grants"):
            connection.execute(("GRANT USAGE ON SCHEMA " + quote(name) + " TO PUBLIC").encode())


def _close_public(run: Run, database: DatabasePlan, connection: Connection, archive: Archive) -> None:
    """Let nobody make anything in `public` but whom the dump names: it starts from the rights that 15 gives there.

    Only in a database that the task has made, and of which all of `public` moves.
    """
    made = bool(run.ports.ledger.items(Side.TARGET, database.target_name, {Kind.DATABASE}))
    whole = run.plan.selection.state(database.source_name, "public") == "all"
    unlike = connection.info.server_version < _PUBLIC_CLOSED_SINCE and archive.renaming.schema("public") == "public"
    there = connection.execute("SELECT pg_catalog.to_regnamespace('public') IS NOT NULL").fetchone()
    if made and whole and unlike and there == (True,):
        with durable("target.grants"):
            connection.execute(b"REVOKE CREATE ON SCHEMA public FROM PUBLIC")


def statements(definition: bytes) -> Iterator[bytes]:
    """Split the text of a grant entry into its statements."""
    for piece in _PIECES.findall(definition):
        if piece.strip(b"; \n"):
            yield piece.strip()


def run_statements(run: Run, connection: Connection, entry: Entry, texts: Iterable[bytes]) -> list[Failure]:
    """Run each statement as a transaction of its own and return those that the target refuses."""
    parts = [replace(entry, definition=text) for text in texts]
    return [failure for part in parts if (failure := run_one(run, connection, part, _TOLERANT))]


def _sql(entry: Entry) -> str:
    return entry.definition.decode(errors="replace").strip()
