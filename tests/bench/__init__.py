"""Measurements: throughput and memory of the real product against the plain tools, on this machine."""

from __future__ import annotations
