"""Questions to and answers from the catalog."""

from __future__ import annotations

from dataclasses import dataclass, field

from quickserveml_tui.core.benchmarks import BenchmarkRun
from quickserveml_tui.core.models import ModelRecord, TrialReport, VersionRecord


@dataclass(frozen=True, slots=True)
class CatalogQuery:
    """Which models to list, in which order."""

    text: str = ""
    """Words that must all occur in name, task, tags, aliases or text, or be an operator; `tag:x`, `state:x`, `op:x`."""
    sort: str = "name"
    """`name`, `updated`, `size`, `params`, `p50`, `versions`; a leading `-` sorts down."""
    limit: int = 1000
    page_token: str = ""


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model as lists show it, with the newest saved benchmark of each version."""

    model: ModelRecord
    benchmarks: dict[int, BenchmarkRun] = field(default_factory=dict)
    """Newest complete run by version."""

    def p50_ms(self, version: int | None = None) -> float | None:
        """Median latency of a version (the latest one by default), if it was measured."""
        number = version if version is not None else (self.model.latest.version if self.model.latest else 0)
        run = self.benchmarks.get(number)
        return run.summary.latency_ms.p50 if run else None


@dataclass(frozen=True, slots=True)
class CatalogPage:
    """A part of the catalog."""

    models: tuple[ModelView, ...]
    next_page_token: str = ""
    total: int = 0
    """Models that match, on all pages."""


@dataclass(frozen=True, slots=True)
class AddRequest:
    """A model file to add."""

    path: str
    name: str = ""
    """Empty takes the file name."""
    label: str = ""
    tags: tuple[str, ...] = ()
    alias: str = ""
    task: str = ""
    author: str = ""
    description: str = ""
    framework: str = ""
    license: str = ""
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AddResult:
    """What became of an added file."""

    model: ModelRecord
    version: VersionRecord
    existed: bool = False
    """Whether this very artifact was already a version of the model; nothing was added then."""

    @property
    def trial(self) -> TrialReport:
        """The trial's report."""
        return self.version.trial


@dataclass(frozen=True, slots=True)
class ScanHit:
    """A model file found below a folder."""

    path: str
    size_bytes: int
    known: str = ""
    """`name@version` if an equal file is registered."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a reference stands for."""

    ref: str
    """Canonical form: `name@version`, or the path."""
    path: str
    """Model file to open; external data lies beside it."""
    digest: str
    model: ModelRecord | None = None
    version: VersionRecord | None = None
    node: str | None = None
