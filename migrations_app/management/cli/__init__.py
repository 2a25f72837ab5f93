"""Parts of the `task` command: addresses, the foreground run, what is printed."""

from __future__ import annotations
