"""What the registry keeps: models, immutable versions, aliases with history."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from quickserveml_tui.core.facts import ModelFacts


class VersionState(StrEnum):
    """Life cycle of a version, set by people."""

    DRAFT = "draft"
    VALIDATED = "validated"
    DEPRECATED = "deprecated"
    ARCHIVED = "archived"


class TrialOutcome(StrEnum):
    """What the trial of a new model found. A rejected model is never stored."""

    READY = "ready"
    UNRUNNABLE = "unrunnable"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of an artifact. `path` is relative to the model file's folder, with `/` as separator."""

    path: str
    digest: str
    """sha256, 64 lower-case hex digits."""
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ArtifactManifest:
    """The files of one model: `files[0]` is the model, the rest its external data.

    `digest` identifies the whole: the model file's sha256 for a single file, else the sha256 of the sorted file list.
    """

    digest: str
    files: tuple[FileEntry, ...]

    @property
    def size_bytes(self) -> int:
        """Size of all files in bytes."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True, slots=True)
class TrialReport:
    """Why a version is ready or not."""

    outcome: TrialOutcome
    reason: str = ""
    """One sentence; empty when ready."""
    detail: str = ""
    """The runtime's own words, bounded."""
    signal: str = ""
    """`SIGFPE` and so on, when the runner died."""
    load_ms: float | None = None
    run_ms: float | None = None
    runtime: str = ""
    """Runtime name and version, such as `onnxruntime 1.32.0`."""


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One immutable version of a model; only `label`, `state`, `notes` and `metadata` may change."""

    version: int
    artifact: ArtifactManifest
    facts: ModelFacts
    trial: TrialReport
    created_at: str
    """UTC, ISO 8601."""
    label: str = ""
    state: VersionState = VersionState.DRAFT
    source: str = ""
    """File name it was added from, without its folder."""
    notes: str = ""
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def runnable(self) -> bool:
        """Whether it may be served, benchmarked or promoted."""
        return self.trial.outcome is TrialOutcome.READY


@dataclass(frozen=True, slots=True)
class AliasEvent:
    """One move of an alias: `version` 0 means removed."""

    alias: str
    version: int
    previous: int
    at: str


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A model with all its versions. `rev` changes with every write and serves as ETag."""

    id: str
    """Stable opaque id; survives a rename."""
    name: str
    created_at: str
    updated_at: str
    rev: int = 0
    task: str = ""
    author: str = ""
    description: str = ""
    framework: str = ""
    license: str = ""
    tags: tuple[str, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    versions: tuple[VersionRecord, ...] = ()
    """Ascending by number."""
    aliases: dict[str, int] = field(default_factory=dict)
    alias_history: tuple[AliasEvent, ...] = ()
    next_version: int = 1
    """Numbers are never reused, also after a deletion."""

    @property
    def latest(self) -> VersionRecord | None:
        """The version with the highest number."""
        return self.versions[-1] if self.versions else None

    def version(self, number: int) -> VersionRecord | None:
        """The version with this number."""
        return next((item for item in self.versions if item.version == number), None)

    def aliases_of(self, number: int) -> tuple[str, ...]:
        """The aliases that point at a version, sorted."""
        return tuple(sorted(alias for alias, target in self.aliases.items() if target == number))


@dataclass(frozen=True, slots=True)
class MetadataPatch:
    """Changes of a model's or version's metadata; None leaves a field as it is."""

    task: str | None = None
    author: str | None = None
    description: str | None = None
    framework: str | None = None
    license: str | None = None
    metadata: dict[str, str | None] | None = None
    """Keys to set; a None value removes the key."""
    label: str | None = None
    state: VersionState | None = None
    notes: str | None = None
