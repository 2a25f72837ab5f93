#!/usr/bin/env python
"""Django's command line with Towpath's settings."""

from __future__ import annotations

import atexit
import gc
import os
import resource
import select
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.core.management.base import BaseCommand


def main() -> None:
    """Run the management command named in argv."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold passwords; children are bound by it too
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
    if sys.argv[1:2] == ["demo"]:  # never in the data of a real installation, whatever the environment says
        folder = Path(os.environ.get("TOWPATH_DEMO_DIR") or Path(__file__).resolve().parent / "var" / "demo")
        os.environ["TOWPATH_DATA_DIR"] = str(folder / "once" if "--once" in sys.argv else folder)
        os.environ.pop("DATABASE_URL", None)
    # What is imported makes 150,000 objects that stay. Looking through them for garbage, again and again at the start
    # and once more at the end, was a quarter of what starting and ending a command costs.
    gc.disable()
    gc.set_threshold(50_000, 20, 20)
    atexit.register(gc.freeze)
    from django.core.management import ManagementUtility

    class Utility(ManagementUtility):
        """Looks for garbage from the moment on in which everything that a command needs has been imported."""

        def fetch_command(self, subcommand: str) -> BaseCommand:
            command = super().fetch_command(subcommand)
            gc.freeze()
            gc.enable()
            return command

    try:
        Utility(sys.argv).execute()
        sys.stdout.flush()
    except BrokenPipeError:
        if not _is_unread():
            raise
        sys.exit(1)


def _is_unread() -> bool:
    """Say whether it is the output that broke: whoever read it, such as `head`, has enough. Nothing is said then."""
    output = select.poll()
    output.register(sys.stdout, 0)
    if not output.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more at its end
    return True


if __name__ == "__main__":
    main()
