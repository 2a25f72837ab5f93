"""The row path: one statement per change, in source order. It is the truth that batches are measured by."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import NamedTuple

from ..names import qualified
from ..truncating import marking, overlooked_sql
from ..wording import Sentence, listing, say
from .batch import Batch
from .frames import messages
from .pgoutput import Begin, Delete, Insert, Message, Relation, Truncate, Update, Values, decode
from .pipeline import Pipeline
from .prepared import Prepared
from .relations import Member, Relations
from .statements import INSERT, Key, Place, TargetTable, empty_sql, referring_sql, sure, truncate_sql
from .transaction import Transaction


class Change(NamedTuple):
    """What a row statement stands for, to name it when it fails."""

    member: Member
    message: Insert | Update | Delete
    final: int
    """Where the commit of its transaction begins on the source."""


class RowPath:
    """Sends the changes of a batch into the open transaction. The caller reads the answers."""

    def __init__(
        self, pipeline: Pipeline, relations: Relations, prepared: Prepared, transaction: Transaction, *, encoding: str,
        binary: bool, takes: Callable[[Change], bool],
    ) -> None:  # fmt: skip
        """`takes` says whether a change replaces what is in its way."""
        self._pipeline = pipeline
        self._relations = relations
        self._prepared = prepared
        self._transaction = transaction
        self._encoding = encoding
        self._binary = binary
        self._takes = takes
        self._final = 0
        self._sure = False

    def apply(self, batch: Batch, only: Container[int] | None = None, *, sure: bool = False) -> None:
        """Send every change of the batch, or those of the tables `only` (oids). Waits while too much is under way.

        `sure`: the server itself fails a change that does not hit exactly one row, which costs it a little more.

        Raises StatementFailed for whatever has been answered meanwhile, EngineError for what cannot be sent.
        """
        self._final = batch.final
        self._sure = sure
        for data, at, end in messages(batch.segments):
            oid = int.from_bytes(data[at + 1 : at + 5])
            kind = data[at]
            if only is not None and kind in b"IUDT" and oid not in only:
                continue
            if kind in b"IUDTBR":
                self._take(decode(data[at:end], 0, self._encoding, binary=self._binary), end - at)

    def _take(self, message: Message, size: int) -> None:
        if isinstance(message, Begin):
            self._final = message.final_lsn
        elif isinstance(message, Relation):
            self._relations.announce(message)
        elif isinstance(message, Truncate):
            self._truncate(message)
        elif isinstance(message, Insert | Update | Delete):
            member = self._member(message.oid)
            if member is not None:
                change = Change(member, message, self._final)
                if self._takes(change):
                    self._replace(change, size)
                    return
                key, values = _statement(member, message)
                self._send(change, key, values, size)

    def _member(self, oid: int) -> Member | None:
        relations = self._relations
        return None if relations.watermark(oid) > self._final else relations.member(oid)

    def _send(self, change: Change, key: Key, values: Values, size: int) -> None:
        statements = change.member.statements
        if self._sure:
            name = self._prepared.name(change.member, ("sure", key), lambda: sure(statements.sql(key)), change)
        else:
            name = self._prepared.name(change.member, key, lambda: statements.sql(key), change)
        self._pipeline.send(name, values, 1, change, size, [1] * len(values) if self._binary else None)

    def _replace(self, change: Change, size: int) -> None:
        """Put the row as the source has it, or none, in place of every row of the target that has its key."""
        statements, message = change.member.statements, change.message
        for key, values in statements.removals(message):
            name = self._prepared.name(change.member, key, lambda key=key: statements.sql(key), change)  # type: ignore[misc]
            self._pipeline.send(name, values, None, change, size, [1] * len(values) if self._binary else None)
        row = None if isinstance(message, Delete) else statements.whole(message)
        if row is not None:
            self._send(change, INSERT, row, size)

    def _truncate(self, message: Truncate) -> None:
        listed = [(oid, self._member(oid)) for oid in message.oids]
        tables = self._relations.emptied({oid: member for oid, member in listed if member is not None})
        if not tables:
            return
        doing = say("emptying {names}", names=listing((f"{one.schema}.{one.name}" for one in tables), len(tables)))
        self._transaction.check_now()
        above = self._referring(tables, doing)
        if above is None:
            statements = [empty_sql(table) for table in tables]
        else:
            statements = self._marking(tables, above, doing)
            statements.append(truncate_sql(tables, above=above, restart_identity=message.restart_identity))
        for sql in statements:
            self._pipeline.command(self._encoded(sql), context=doing)
        self._transaction.defer()

    def _referring(self, tables: list[TargetTable], doing: Sentence) -> list[Place] | None:
        """Return what has to be emptied with these tables because foreign keys lead from there to them: partitioned
        tables whose partitions are among them.

        None: TRUNCATE would be refused, since another table refers to them. All that CASCADE emptied and is of the
        task is listed, so that other one is left out, or was copied after this, and keeps its rows.
        """
        found = self._pipeline.query(self._encoded(referring_sql(tables)), context=doing)
        rows = [[found.get_value(row, column) or b"" for column in range(3)] for row in range(found.ntuples)]
        if any(whole != b"t" for _, _, whole in rows):
            return None
        return [self._place(schema, name) for schema, name, _ in rows]

    def _marking(self, tables: list[TargetTable], above: list[Place], doing: Sentence) -> list[str]:
        """Return what lets TRUNCATE see those of the tables that it would take for ones that are left out."""
        names = [qualified(*place) for place in (*above, *((one.schema, one.name) for one in tables))]
        found = self._pipeline.query(self._encoded(overlooked_sql(names)), context=doing)
        rows = [[found.get_value(row, column) or b"" for column in range(2)] for row in range(found.ntuples)]
        return [text for schema, name in rows for text in marking(*self._place(schema, name))]

    def _place(self, schema: bytes, name: bytes) -> Place:
        codec = self._pipeline.encoding
        return schema.decode(codec, "surrogateescape"), name.decode(codec, "surrogateescape")

    def _encoded(self, sql: str) -> bytes:
        return sql.encode(self._pipeline.encoding, "surrogateescape")


def _statement(member: Member, message: Insert | Update | Delete) -> tuple[Key, Values]:
    if isinstance(message, Insert):
        return INSERT, message.new
    if isinstance(message, Update):
        return member.statements.update(message)
    return member.statements.delete(message)
