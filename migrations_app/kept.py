"""What pages ask again and again of a source's object list, kept by each process for as long as the list is the same.

`MigrationTask.objects_read` names the reading that the rows came from; it is set in the transaction that replaces them
and is never used twice. So it is the key, and nothing that is kept can be out of date. Only what a reading alone
decides may be kept under it: neither the selection nor what the target has.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sized
from typing import Any, TypeVar

from .models import MigrationTask

Value = TypeVar("Value", bound=Sized)

MOST_ROWS = 150_000
"""Sum of the lengths of everything that is kept: some tens of megabytes. What is larger by itself is not kept."""

_kept: OrderedDict[Hashable, Any] = OrderedDict()
_lock = threading.Lock()


def of_reading(task: MigrationTask, name: Hashable, make: Callable[[], Value]) -> Value:
    """Return `make()`, or what it returned before for the same reading and name. Callers must not change it.

    A task whose reading has no name keeps nothing.
    """
    if task.objects_read is None:
        return make()
    key = (task.objects_read, name)
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            found: Value = _kept[key]
            return found
    made = make()  # not under the lock: others must not wait; two that make the same make it equal
    with _lock:
        _kept[key] = made
        _kept.move_to_end(key)
        rows = sum(_weight(value) for value in _kept.values())
        while rows > MOST_ROWS:
            rows -= _weight(_kept.popitem(last=False)[1])
    return made


def _weight(value: Sized) -> int:
    return len(value) + 100  # an empty answer takes room too
