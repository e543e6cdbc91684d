"""The part of a model that lists, filters and sorts look at: cheap to read for ten thousand models at once.

Field for field a subset of `core.models`, so that both answer the same questions by the same names. These are msgspec
structures outside the cycle collector: ten thousand of them decode in 65 instead of 80 ms, and its first walk over them
takes 16 instead of 53 ms.
"""

from __future__ import annotations

import msgspec

from quickserveml_tui.core.models import TrialOutcome, VersionState


class FileHead(msgspec.Struct, frozen=True, gc=False):
    """One file of an artifact."""

    digest: str
    size_bytes: int


class ArtifactHead(msgspec.Struct, frozen=True, gc=False):
    """The files of a version."""

    digest: str
    files: tuple[FileHead, ...]

    @property
    def size_bytes(self) -> int:
        """Size of all files in bytes."""
        return sum(file.size_bytes for file in self.files)


class TensorHead(msgspec.Struct, frozen=True, gc=False):
    """An input or output."""

    name: str
    dtype: str


class FactsHead(msgspec.Struct, frozen=True, gc=False):
    """What is known of the graph."""

    ir_version: int
    opsets: dict[str, int]
    nodes: int
    params: int
    macs: int | None
    op_types: dict[str, int] = {}
    weight_dtypes: dict[str, int] = {}
    inputs: tuple[TensorHead, ...] = ()
    outputs: tuple[TensorHead, ...] = ()


class TrialHead(msgspec.Struct, frozen=True, gc=False):
    """Whether it runs."""

    outcome: TrialOutcome


class VersionHead(msgspec.Struct, frozen=True, gc=False):
    """A version."""

    version: int
    artifact: ArtifactHead
    facts: FactsHead
    trial: TrialHead
    created_at: str
    label: str = ""
    state: VersionState = VersionState.DRAFT

    @property
    def runnable(self) -> bool:
        """Whether it may be served, benchmarked or promoted."""
        return self.trial.outcome is TrialOutcome.READY


class ModelHead(msgspec.Struct, frozen=True, gc=False):
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
    metadata: dict[str, str] = {}
    versions: tuple[VersionHead, ...] = ()
    aliases: dict[str, int] = {}

    @property
    def latest(self) -> VersionHead | None:
        """The version with the highest number."""
        return self.versions[-1] if self.versions else None
