"""The console's forms: text of a POST becomes typed values; nothing is saved here. Every error names its remedy."""

from __future__ import annotations

from .endpoint import EndpointForm, SourceForm, TargetForm
from .resource import AccountForm, InventoryForm, ResourceForm
from .saved import SavedEndpointForm
from .settings import SettingsForms
from .task import TaskForm

__all__ = [
    "AccountForm",
    "EndpointForm",
    "InventoryForm",
    "ResourceForm",
    "SavedEndpointForm",
    "SettingsForms",
    "SourceForm",
    "TargetForm",
    "TaskForm",
]
