"""Who may do what on a server: permissions, API keys, and who a request comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Protocol


class Permission(StrEnum):
    """What a route needs; every route declares one, and a server with a route that does not refuses to start."""

    PUBLIC = "public"
    """Nothing: liveness and readiness."""
    INFER = "infer"
    """Inference and what its clients ask before: metadata, configuration, schema of served models."""
    READ = "read"
    """Look at the catalog, runs, jobs, statistics."""
    METRICS = "metrics"
    """Scrape metrics and watch the server."""
    WRITE = "write"
    """Change the catalog: add, change, delete, promote; start and cancel jobs."""
    OPERATE = "operate"
    """Load, unload and swap what is served."""
    ADMIN = "admin"
    """Keys; holds all others."""


SCOPES = tuple(item for item in Permission if item is not Permission.PUBLIC)
"""Permissions that a key can be given."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How much a key may ask for; 0 is no limit."""

    per_second: float = 0.0
    burst: int = 0
    """Requests at once; 0 takes one second's worth, at least 1."""
    per_day: int = 0
    """Quota of a day (UTC)."""

    @property
    def unlimited(self) -> bool:
        """Whether nothing is counted."""
        return not self.per_second and not self.per_day


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as it is kept: never the secret, only its SHA-256."""

    id: str
    name: str
    """For people; unique among the keys that are not revoked."""
    secret_sha256: str
    """Hex digest of the secret part."""
    created_at: str
    scopes: tuple[Permission, ...] = (Permission.INFER,)
    models: tuple[str, ...] = ()
    """Patterns (`resnet*`) of model names that it reaches; empty reaches all."""
    limit: RateLimit = field(default_factory=RateLimit)
    expires_at: str = ""
    """UTC, ISO 8601; empty never expires."""
    revoked_at: str = ""
    replaced_by: str = ""
    """Id of the key that a rotation made in its place; this one works until `expires_at`."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class DamagedKey:
    """A record among the keys that cannot be read: it opens nothing, and stays in the file as it is."""

    id: str
    """As far as the record says it; empty else."""
    name: str
    detail: str
    """What is wrong with it; nothing of its secret."""

    @property
    def label(self) -> str:
        """What people call it."""
        if self.name and self.id:
            return f"{self.name} ({self.id})"
        return self.name or self.id or "without name and id"


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A new key with its text, which is shown this once."""

    key: ApiKey
    text: str
    """`qsml_<id>_<secret>_<checksum>`."""


class Principal(Protocol):
    """Who a request comes from. One object per key and process, shared by all of its requests."""

    @property
    def id(self) -> str:
        """Id of the key; `anonymous` without one."""
        ...

    def allows(self, permission: Permission, model: str = "") -> bool:
        """Whether a request that needs `permission` (on the model of that name, where there is one) may pass."""
        ...


def may(scopes: tuple[Permission, ...], patterns: tuple[str, ...], permission: Permission, model: str = "") -> bool:
    """Whether scopes and model patterns cover `permission` on `model`."""
    if permission is Permission.PUBLIC:
        return True
    if permission not in scopes and Permission.ADMIN not in scopes:
        return False
    return not model or not patterns or any(fnmatchcase(model, pattern) for pattern in patterns)
