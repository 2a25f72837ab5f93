"""Answers presses on Test connection and the other requests that a page polls for."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection
from typing import Any

from django.utils import timezone

from .. import queue
from ..engine import probe
from ..engine.errors import EngineError
from ..engine.plan import Side
from ..engine.wording import Sentence, as_data, called, noun, say
from ..models import ConnectionTest, Endpoint, EndpointTest, MigrationTask
from . import preparing
from .planning import server_of
from .reading import read_side
from .standing import require_standing


class AnotherServer(EngineError):
    """The way that was saved for a started task leads to another server than the one that it began on."""

    code = "ANOTHER-SERVER"

    def __init__(self, side: Side, found: str, known: Collection[str]) -> None:
        super().__init__(
            say(
                "This is not the {side} that the migration started with: system {found} instead of {known}.",
                side=noun(side),
                found=found,
                known=", ".join(sorted(known)),
            ),
            hint=say("Enter a way to the same server. Nothing was changed on this one, and the task will refuse it."),
        )


log = logging.getLogger("towpath.worker")


def run_connection_test(test_id: str) -> None:
    """Do what a ConnectionTest or EndpointTest row asks for and write the answer into it.

    A duplicate delivery walks away.
    """
    kind: type[ConnectionTest | EndpointTest]
    for kind in (ConnectionTest, EndpointTest):
        if kind.objects.filter(pk=test_id, state="waiting").update(state="running"):
            test = kind.objects.get(pk=test_id)
            kind.objects.filter(pk=test_id).update(detail=test.detail | {"worker": queue.worker_name()})
            answer = _judged(test)
            words = as_data(message=answer["message"], hint=answer["hint"])
            kind.objects.filter(pk=test_id).update(finished_at=timezone.now(), words=words, **answer)
            return


def _judged(test: ConnectionTest | EndpointTest) -> dict[str, Any]:
    try:
        with queue.beating():
            message, detail = _answer_of_endpoint(test.endpoint) if isinstance(test, EndpointTest) else _answer(test)
    except EngineError as error:
        answer = {"state": "failed", "code": error.code, "message": error.message, "hint": error.hint}
        if isinstance(test, EndpointTest):
            answer |= {"message": _of_no_side(error.message), "hint": _of_no_side(error.hint)}
        return answer | {"detail": error.detail}
    except Exception as error:
        incident = secrets.token_hex(4)
        log.error("incident %s: connection test %s", incident, test.pk, exc_info=error)
        return {
            "state": "failed",
            "code": "INT-UNKNOWN",
            "message": say("Unexpected error, id {incident}.", incident=incident),
            "hint": say("The log holds the details."),
        }
    return {"state": "passed", "code": "", "message": message, "hint": "", "detail": detail}


def _answer(test: ConnectionTest) -> tuple[str, dict[str, Any]]:
    side = Side(test.side)
    if test.kind == "inventory":
        return read_side(test.task, side)
    if test.kind == "fix":
        return preparing.mend(test)
    if test.kind == "prepare":
        return preparing.look_at_source(test)
    known = _begun_on(test.task, side)
    return _answer_of_endpoint(test.task.source if side is Side.SOURCE else test.task.target, side, known)


def _begun_on(task: MigrationTask, side: Side) -> set[str]:
    """Return the system identifiers of the server that a started task began on; none where nobody knows."""
    column = "system_id" if side is Side.SOURCE else "target_system_id"
    return set(task.databases.exclude(**{column: ""}).values_list(column, flat=True))


def _answer_of_endpoint(
    endpoint: Endpoint | None, side: Side = Side.SOURCE, known: Collection[str] = ()
) -> tuple[Sentence, dict[str, Any]]:
    require_standing(endpoint)
    found = probe.probe(server_of(endpoint), side)
    if known and found.system_id is not None and found.system_id not in known:
        raise AnotherServer(side, found.system_id, known)
    return describe(found), {"version": found.version_text, "latency_ms": found.latency_ms, "tls": found.tls}


def _of_no_side(sentence: Sentence) -> Sentence:
    """Return a sentence about a server that is neither source nor target yet."""
    return called(sentence, "source", say("server"))


def describe(result: probe.ProbeResult) -> Sentence:
    """Return what a successful test says: version, latency, protection."""
    return say(
        "PostgreSQL {version}, {latency} ms, {protection}.",
        version=result.version_text,
        latency=f"{result.latency_ms:.0f}",
        protection=say("no TLS") if result.tls in ("", "none") else result.tls,
    )
