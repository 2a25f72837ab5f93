"""The console's settings with a broker that hands a message out again after seconds instead of minutes."""

from __future__ import annotations

from console.settings import *  # noqa: F403 - these are the settings, all but one
from console.settings import Q_CLUSTER as _QUEUES

RETRY_SECONDS = 3
Q_CLUSTER = {**_QUEUES, "retry": RETRY_SECONDS}
