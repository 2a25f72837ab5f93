"""`manage.py qcluster`: the queue library's command, with our guards in place before anything of it runs."""

from __future__ import annotations

from typing import Any

from django_q.management.commands import qcluster

from ... import queue


class Command(qcluster.Command):  # type: ignore[misc]
    """Takes the place of the library's command of this name, because our app comes first."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Run one cluster until it is told to stop."""
        queue.install_guards()
        super().handle(*args, **options)
