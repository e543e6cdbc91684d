"""The part of a model that lists, filters and sorts look at: cheap to read for ten thousand models at once.

Field for field a subset of `core.models`, so that both answer the same questions by the same names.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from quickserveml_tui.core.models import TrialOutcome, VersionState, is_quarantined, status_word


@dataclass(frozen=True, slots=True)
class FileHead:
    """One file of an artifact."""

    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ArtifactHead:
    """The files of a version."""

    digest: str
    files: tuple[FileHead, ...]

    @property
    def size_bytes(self) -> int:
        """Size of all files in bytes."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True, slots=True)
class TensorHead:
    """An input or output."""

    name: str
    dtype: str


@dataclass(frozen=True, slots=True)
class FactsHead:
    """What is known of the graph."""

    ir_version: int
    opsets: dict[str, int]
    nodes: int
    params: int
    macs: int | None
    op_types: dict[str, int] = field(default_factory=dict)
    weight_dtypes: dict[str, int] = field(default_factory=dict)
    inputs: tuple[TensorHead, ...] = ()
    outputs: tuple[TensorHead, ...] = ()


@dataclass(frozen=True, slots=True)
class TrialHead:
    """Whether it runs."""

    outcome: TrialOutcome
    signal: str = ""
    code: str = ""

    @property
    def quarantined(self) -> bool:
        """Whether the model broke its runner."""
        return is_quarantined(self.outcome, self.signal, self.code)


@dataclass(frozen=True, slots=True)
class GoldenHead:
    """A golden output."""

    name: str


@dataclass(frozen=True, slots=True)
class VersionHead:
    """A version."""

    version: int
    artifact: ArtifactHead
    facts: FactsHead
    trial: TrialHead
    created_at: str
    label: str = ""
    state: VersionState = VersionState.DRAFT
    metadata: dict[str, str] = field(default_factory=dict)
    golden: tuple[GoldenHead, ...] = ()

    @property
    def runnable(self) -> bool:
        """Whether it may be served, benchmarked or promoted."""
        return self.trial.outcome is TrialOutcome.READY

    @property
    def status(self) -> str:
        """The word that lists show, as `VersionRecord.status`."""
        return status_word(self.state, self.trial.outcome, quarantined=self.trial.quarantined)


@dataclass(frozen=True, slots=True)
class ModelHead:
    """A model."""

    id: str
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
    metadata: dict[str, str] = field(default_factory=dict)
    versions: tuple[VersionHead, ...] = ()
    aliases: dict[str, int] = field(default_factory=dict)

    @property
    def latest(self) -> VersionHead | None:
        """The version with the highest number."""
        return self.versions[-1] if self.versions else None
