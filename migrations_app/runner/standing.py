"""Whether the instances that a task's endpoints were chosen from still stand where its settings were saved."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from django.db import connections

from .. import sources
from ..engine.checks.registry import CheckResult, CheckStatus, Group
from ..engine.errors import EngineError
from ..engine.plan import Side
from ..engine.wording import NOTHING, Sentence, say, template, together, verbatim
from ..models import Endpoint, MigrationTask

_INSTANCES = ("cvm", "tencentdb")


class InstanceGone(EngineError):
    """An instance is gone, or has another address than the one that was saved."""

    code = "INSTANCE-GONE"


_TITLES = {
    Side.SOURCE: template("The source's instance is where it was"),
    Side.TARGET: template("The target's instance is where it was"),
}


def require_standing(endpoint: Endpoint | None) -> None:
    """Raise InstanceGone unless the endpoint is where it was saved. May ask the cloud, about 5 seconds at most."""
    try:
        if endpoint is not None:
            sources.resolve(endpoint)
    except sources.Vanished as gone:
        raise InstanceGone(gone.message, hint=gone.hint) from gone


def _found(endpoint: Endpoint) -> tuple[CheckStatus, Sentence, Sentence]:
    """Return what the directory says about an instance now: result, what was found, what to do."""
    where = {"instance_id": endpoint.instance_id, "host": endpoint.host, "port": endpoint.port}
    try:
        sources.look_up(endpoint)
    except sources.Vanished as gone:
        return CheckStatus.FAILED, verbatim(gone.message), verbatim(gone.hint)
    except sources.ProviderError as error:
        message = error.message if error.message.endswith(".") else together([error.message, "."], "")
        if error.code not in sources.NETWORK_CODES:
            message = say("the provider answered {code}: {message}", code=error.code, message=message)
        said = say(
            "Nobody could say whether {instance_id} is still at {host}:{port}: {message}", **where, message=message
        )
        request = say(" Request: {request_id}.", request_id=error.request_id) if error.request_id else NOTHING
        hint = say(
            "Look at the provider account on the Resources page, then check again. "
            "The saved address is dialled as it is."
        )
        return CheckStatus.WARNING, said + request, hint
    return CheckStatus.PASSED, say("{instance_id} is at {host}:{port}, as it was saved.", **where), NOTHING


@contextlib.contextmanager
def beside(
    task: MigrationTask, only: frozenset[str], report: Callable[[CheckResult], None]
) -> Iterator[Callable[[], list[CheckResult]]]:
    """Ask the directory about each side that was chosen by its instance while the block runs; it may ask the cloud.

    `only` names the items to run, empty = all. `report` gets each result in the thread that asked. What is yielded
    returns the results once the block has ended, source first, or raises what went wrong.
    """
    asked = []
    for side, endpoint in ((Side.SOURCE, task.source), (Side.TARGET, task.target)):
        code = f"instance-{side.value}"
        if endpoint is not None and endpoint.kind in _INSTANCES and (not only or code in only):
            asked.append((side, code, endpoint))
    with ThreadPoolExecutor(max_workers=len(Side)) as pool:
        # Our own rows answer at once; only the cloud is worth a thread.
        clouds = [pool.submit(_ask_cloud, *one, report) for one in asked if not _is_ours(one[2])]
        ours = [_judge(*one, report) for one in asked if _is_ours(one[2])]
        yield lambda: sorted([*ours, *(answer.result() for answer in clouds)], key=lambda result: result.code)


def _is_ours(endpoint: Endpoint) -> bool:
    return endpoint.provider in ("", sources.OWN)


def _ask_cloud(side: Side, code: str, endpoint: Endpoint, report: Callable[[CheckResult], None]) -> CheckResult:
    try:
        return _judge(side, code, endpoint, report)
    finally:
        connections.close_all()


def _judge(side: Side, code: str, endpoint: Endpoint, report: Callable[[CheckResult], None]) -> CheckResult:
    began = time.monotonic()
    status, found, hint = _found(endpoint)
    result = CheckResult(
        code=code,
        title=_TITLES[side],
        group=Group.CONNECTION,
        status=status,
        found=found,
        hint=hint,
        seconds=round(time.monotonic() - began, 3),
    )
    report(result)
    return result
