"""The tables of the data-migration app: fields, constraints and small properties; no behaviour.

Our rows are the truth. A queue message only wakes a worker up, a page only renders rows.
"""

from __future__ import annotations

from .accounts import AuditAsked, AuditEntry, AuditHead, Role, SetupToken, SignInFailure, User
from .directory import ProviderAccount, Resource, ResourceListing
from .drafts import CheckItem, ConnectionTest, EndpointTest, Level, SourceObject
from .endpoints import Endpoint
from .history import ArchiveEntry, ComparisonResult, Event, LedgerEntry, Sample
from .notes import NewTable, Recopy, RowPermission, ShapeLeave, StructureNote
from .passwords import TargetPassword
from .tasks import MigrationTask, Step, TableCopy, Tag, TaskDatabase
from .work import WorkerBeat

__all__ = [
    "ArchiveEntry",
    "AuditAsked",
    "AuditEntry",
    "AuditHead",
    "CheckItem",
    "ComparisonResult",
    "ConnectionTest",
    "Endpoint",
    "EndpointTest",
    "Event",
    "LedgerEntry",
    "Level",
    "MigrationTask",
    "NewTable",
    "ProviderAccount",
    "Recopy",
    "Resource",
    "ResourceListing",
    "Role",
    "RowPermission",
    "Sample",
    "SetupToken",
    "ShapeLeave",
    "SignInFailure",
    "SourceObject",
    "Step",
    "StructureNote",
    "TableCopy",
    "Tag",
    "TargetPassword",
    "TaskDatabase",
    "User",
    "WorkerBeat",
]
