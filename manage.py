#!/usr/bin/env python
"""Django's command line with Towpath's settings."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from pathlib import Path


def main() -> None:
    """Run the management command named in argv."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
    if sys.argv[1:2] == ["demo"]:  # never in the data of a real installation, whatever the environment says
        folder = Path(os.environ.get("TOWPATH_DEMO_DIR") or Path(__file__).resolve().parent / "var" / "demo")
        os.environ["TOWPATH_DATA_DIR"] = str(folder / "once" if "--once" in sys.argv else folder)
        os.environ.pop("DATABASE_URL", None)
    # What is imported makes 150,000 objects that stay. Looking through them for garbage, again and again at the start
    # and once more at the end, was a sixth of what starting and ending a command costs.
    gc.set_threshold(50_000, 20, 20)
    atexit.register(gc.freeze)
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
