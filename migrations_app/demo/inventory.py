"""The demo's resource directory: a file whose instances are the two sample servers."""

from __future__ import annotations

from pathlib import Path
from string import Template

_FILE = Path(__file__).with_name("inventory.yaml")


def inventory_text(*, source_port: int, target_port: int) -> str:
    """Return the inventory file of a demo whose servers listen on these ports."""
    ports = {"SOURCE_PORT": str(source_port), "TARGET_PORT": str(target_port)}
    return Template(_FILE.read_text()).substitute(ports)
