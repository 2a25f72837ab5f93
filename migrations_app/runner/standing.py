"""Whether the instances that a task's endpoints were chosen from still stand where its settings were saved."""

from __future__ import annotations

from .. import sources
from ..engine.checks.registry import CheckResult, CheckStatus, Group
from ..engine.errors import EngineError
from ..engine.plan import Side
from ..engine.wording import NOTHING, say, template
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


def standing(task: MigrationTask, only: frozenset[str]) -> list[CheckResult]:
    """Return one result for each side that was chosen by its instance; `only` names the items to run, empty = all."""
    results = []
    for side, endpoint in ((Side.SOURCE, task.source), (Side.TARGET, task.target)):
        code = f"instance-{side.value}"
        if endpoint is None or endpoint.kind not in _INSTANCES or (only and code not in only):
            continue
        status, hint = CheckStatus.PASSED, NOTHING
        found = say(
            "{instance_id} is at {host}:{port}, as it was saved.",
            instance_id=endpoint.instance_id,
            host=endpoint.host,
            port=endpoint.port,
        )
        try:
            require_standing(endpoint)
        except InstanceGone as gone:
            status, found, hint = CheckStatus.FAILED, gone.message, gone.hint
        title = _TITLES[side]
        results.append(
            CheckResult(code=code, title=title, group=Group.CONNECTION, status=status, found=found, hint=hint)
        )
    return results
