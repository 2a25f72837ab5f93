"""The demonstration: two embedded servers, a shop with data, and an application that keeps writing."""

from __future__ import annotations
