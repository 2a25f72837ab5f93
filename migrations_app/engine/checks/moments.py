"""Which items are looked at again by themselves, and when."""

from __future__ import annotations

BEFORE_COMPLETE = frozenset(
    {
        "large-objects",
        "row-security",
        "source-login",
        "source-readable",
        "source-reachable",
        "source-tls",
        "target-create",
        "target-login",
        "target-reachable",
        "target-tls",
    }
)
"""What Complete itself needs: both servers reached as agreed, every row, sequence and large object readable for the
comparison and the last copies, and the right to make on the target what was put off. Items about the copy and about
slots are left out: our own objects are there by now and would count against the task."""

UNREACHABLE = frozenset({"source-reachable", "target-reachable"})
"""A failure that may pass by itself: before the start it is waited out like any lost connection."""
