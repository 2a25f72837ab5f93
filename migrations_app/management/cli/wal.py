"""The WAL budget on the command line: of a task that is there (`task wal`), and of one that is made."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import CommandError

from ... import services
from ...engine.values import frozen
from ...models import MigrationTask
from .values import size

_SIZE = "such as 20GB"
_ONLY_AT_A_BUDGET = frozenset({"pause_others", "spool", "drop"})
"""What these do is done at the budget alone; `new_copy` also where the source has taken the slot's WAL away."""


@frozen
class WalOptions:
    """The WAL budget that a new task gets. Sizes in bytes; None: no budget, and a disk whose size nobody knows."""

    budget_bytes: int | None
    policy: str
    disk_bytes: int | None


def change_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `task wal` takes beside the task."""
    parser.add_argument("--budget", metavar="SIZE", help=f"{_SIZE}; none = no budget")
    parser.add_argument("--policy", choices=services.POLICIES, help="what is done at the budget")
    parser.add_argument("--disk", metavar="SIZE", help="size of the source's WAL disk; none = not known")


def new_task_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the budget of a task that is made."""
    parser.add_argument("--wal-budget", metavar="SIZE", help=f"most WAL that the source may keep, {_SIZE}")
    parser.add_argument("--wal-policy", choices=services.POLICIES, help="what is done at the WAL budget")
    parser.add_argument("--wal-disk", metavar="SIZE", help=f"size of the source's WAL disk, {_SIZE}")


def wal_options(options: dict[str, Any], *, incremental: bool) -> WalOptions | None:
    """Return the budget that was asked for, None when nothing of it was. Raises CommandError, or Refused for a size."""
    given = [options[name] for name in ("wal_budget", "wal_policy", "wal_disk")]
    if all(value is None for value in given):
        return None
    if not incremental:
        raise CommandError("--wal-budget, --wal-policy and --wal-disk need --mode full+sync: nothing else keeps WAL.")
    budget, policy, disk = given
    if policy in _ONLY_AT_A_BUDGET and budget is None:
        raise CommandError(f"--wal-policy {policy} needs --wal-budget: it says what is done when that is reached.")
    return WalOptions(
        budget_bytes=size(budget, None), policy=policy or services.POLICIES[0], disk_bytes=size(disk, None)
    )


def give_budget(task: MigrationTask, wanted: WalOptions | None) -> None:
    """Give a task that was just made the budget that was asked for."""
    if wanted is not None:
        services.set_wal_budget(
            task_id=task.pk,
            actor=None,
            budget_bytes=wanted.budget_bytes,
            policy=wanted.policy,
            disk_bytes=wanted.disk_bytes,
        )


def change_budget(task: MigrationTask, options: dict[str, Any]) -> MigrationTask:
    """Do what `task wal` was asked for: what is not named stays as it is. Raises Refused, CommandError for nothing."""
    if all(options[name] is None for name in ("budget", "policy", "disk")):
        raise CommandError("Give --budget, --policy, --disk, or several of them.")
    if options["policy"] in _ONLY_AT_A_BUDGET and options["budget"] is None and not task.wal_budget_bytes:
        raise CommandError(f"--policy {options['policy']} needs --budget: it says what is done when that is reached.")
    return services.set_wal_budget(
        task_id=task.pk,
        actor=None,
        budget_bytes=size(options["budget"], task.wal_budget_bytes),
        policy=options["policy"] or task.wal_policy,
        disk_bytes=size(options["disk"], task.wal_disk_bytes),
    )
