"""What the registry keeps: models, immutable versions, aliases with history."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from quickserveml_tui.core.facts import ModelFacts
from quickserveml_tui.core.feeds import FeedSpec


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
class FileLink:
    """Where a file lies that is referenced in place, and how it looked when its digest was computed."""

    path: str
    """Absolute path."""
    mtime_ns: int
    inode: int = 0
    device: int = 0


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of an artifact. `path` is relative to the model file's folder, with `/` as separator."""

    path: str
    digest: str
    """sha256, 64 lower-case hex digits."""
    size_bytes: int
    link: FileLink | None = None
    """Set when the file stays where it is; the store then holds no copy of it."""


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

    @property
    def is_linked(self) -> bool:
        """Whether any file is referenced in place."""
        return any(file.link is not None for file in self.files)

    @property
    def blobs(self) -> frozenset[str]:
        """Digests of the files that the store must hold."""
        return frozenset(file.digest for file in self.files if file.link is None)


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a version comes from."""

    made_from: str = ""
    """What it was trained or exported from: a checkpoint, a data set, a commit."""
    converted_by: str = ""
    """Tool and version that wrote the file."""
    parent: str = ""
    """The version it was derived from: `name@version`, or the sha256 of an artifact."""


@dataclass(frozen=True, slots=True)
class GoldenOutput:
    """Inputs with the outputs they must give, kept as two NPZ blobs."""

    name: str
    inputs_digest: str
    outputs_digest: str
    created_at: str
    rtol: float = 1e-4
    atol: float = 1e-5
    notes: str = ""
    source: str = ""
    """Where the inputs come from: the feed's options (`--seed 7 --batch 2`), or the name of a file."""
    runtime: str = ""
    """What made the outputs, such as `onnxruntime 1.32.0`."""


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
    code: str = ""
    """Code of the error behind it, such as `model.opset_too_new` or `runtime.crashed`; empty when ready."""
    tried_at: str = ""
    """UTC, ISO 8601; empty in reports of programs that did not write it."""
    warning: str = ""
    """What is wrong with a version that is ready all the same: golden outputs that it does not give."""

    @property
    def quarantined(self) -> bool:
        """Whether the model broke its runner: it crashed, hung or took all its memory. It is never opened elsewhere."""
        return is_quarantined(self.outcome, self.signal, self.code)


QUARANTINED = "quarantined"
"""The word for a version that broke its runner."""


def is_quarantined(outcome: TrialOutcome, signal: str, code: str) -> bool:
    """Whether a trial with this outcome, signal and code broke its runner."""
    return outcome is TrialOutcome.UNRUNNABLE and (bool(signal) or code.startswith("runtime."))


def status_word(state: VersionState, outcome: TrialOutcome, *, quarantined: bool) -> str:
    """How a version stands: its state, or `unrunnable` or `quarantined` where it does not run."""
    if outcome is TrialOutcome.READY:
        return state.value
    return QUARANTINED if quarantined else outcome.value


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One immutable version of a model.

    Only `label`, `state`, `notes`, `metadata`, `lineage`, `golden`, `feed` and `trial` (when it is tried again) may
    change.
    """

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
    lineage: Lineage = field(default_factory=Lineage)
    golden: tuple[GoldenOutput, ...] = ()
    feed: FeedSpec = field(default_factory=FeedSpec)
    """Overrides for synthetic inputs that are used wherever this version runs without given inputs."""

    @property
    def blobs(self) -> frozenset[str]:
        """Digests of all blobs that this version needs."""
        needed = {digest for item in self.golden for digest in (item.inputs_digest, item.outputs_digest)}
        return self.artifact.blobs | needed

    @property
    def runnable(self) -> bool:
        """Whether it may be served, benchmarked or promoted."""
        return self.trial.outcome is TrialOutcome.READY

    @property
    def status(self) -> str:
        """The word that lists show: its state, or `unrunnable` or `quarantined` where it does not run."""
        return status_word(self.state, self.trial.outcome, quarantined=self.trial.quarantined)


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
    categories: tuple[str, ...] = ()
    """Sorted; a `/` separates levels, as in `vision/classification`."""
    metadata: dict[str, str] = field(default_factory=dict)
    versions: tuple[VersionRecord, ...] = ()
    """Ascending by number."""
    aliases: dict[str, int] = field(default_factory=dict)
    alias_history: tuple[AliasEvent, ...] = ()
    protected: tuple[str, ...] = ()
    """Aliases protected besides `prod` and `staging`."""
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
    """Keys of the model to set; a None value removes the key."""
    version_metadata: dict[str, str | None] | None = None
    """Keys of the version to set; a None value removes the key."""
    label: str | None = None
    state: VersionState | None = None
    notes: str | None = None
    made_from: str | None = None
    converted_by: str | None = None
    parent: str | None = None


class TrashKind(StrEnum):
    """What was deleted."""

    MODEL = "model"
    VERSION = "version"


@dataclass(frozen=True, slots=True)
class TrashEntry:
    """A deleted model or version; it can be restored until it is purged."""

    id: str
    """`trash-…`"""
    kind: TrashKind
    model_id: str
    name: str
    """The model's name when it was deleted."""
    deleted_at: str
    model: ModelRecord | None = None
    """The whole model, when it was deleted."""
    version: VersionRecord | None = None
    """The version, when only that was deleted."""
    aliases: tuple[str, ...] = ()
    """Aliases that pointed at the deleted version."""

    @property
    def title(self) -> str:
        """`name`, or `name@version`."""
        return self.name if self.version is None else f"{self.name}@{self.version.version}"

    @property
    def versions(self) -> tuple[VersionRecord, ...]:
        """The versions it holds."""
        if self.version is not None:
            return (self.version,)
        return self.model.versions if self.model is not None else ()
