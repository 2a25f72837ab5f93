"""The steps of a run. Every module has the same shape: `run(run: Run) -> Outcome`, repeatable after a crash."""

from __future__ import annotations
