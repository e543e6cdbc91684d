"""Questions to and answers from the catalog."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from quickserveml_tui.core.benchmarks import BenchmarkRun
from quickserveml_tui.core.compatibility import Conversion
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.models import (
    AliasEvent,
    Lineage,
    MetadataPatch,
    ModelRecord,
    TrashEntry,
    TrialReport,
    VersionRecord,
)


@dataclass(frozen=True, slots=True)
class CatalogQuery:
    """Which models to list, in which order."""

    text: str = ""
    """A filter: words, and comparisons such as `params < 10M AND bench.p99_ms < 5`; see `docs/filters.md`."""
    sort: str = "name"
    """`name`, `updated`, `size`, `params`, `p50`, `versions`, …; a leading `-` sorts down."""
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
    categories: tuple[str, ...] = ()
    notes: str = ""
    lineage: Lineage = field(default_factory=Lineage)
    link: bool = False
    """Whether the files stay where they are, referenced in place, instead of being copied."""
    feed: FeedSpec = field(default_factory=FeedSpec)
    """Overrides for synthetic inputs: the trial takes them, and they are kept with the version."""
    onto: str | None = None
    """Id of the model that the name must stand for; empty where no model may have it yet, None for either."""


@dataclass(frozen=True, slots=True)
class AddResult:
    """What became of an added file."""

    model: ModelRecord
    version: VersionRecord
    existed: bool = False
    """Whether this very artifact was already a version of the model; only its details were changed then."""
    warning: str = ""
    """A sentence on what to look at, such as a registry that is nearly full."""
    conversion: Conversion | None = None
    """How it was converted, where it was."""
    moved: AliasEvent | None = None
    """The move of the alias that the request names, where it pointed elsewhere before, or nowhere."""

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
    hashed: str | Callable[[], str]
    """The digest, or what finds it out: a file of gigabytes is read for it, which takes seconds."""
    model: ModelRecord | None = None
    version: VersionRecord | None = None
    node: str | None = None
    identity: str = ""
    """Tells a file and each of its states from others, without reading it; empty for a registered version."""

    @property
    def digest(self) -> str:
        """SHA-256 of the artifact, or of the bytes that the file has when it is asked for.

        Raises `ModelError` (`model.missing`, `model.unreadable_file`) for a file that cannot be read any more.
        """
        return self.hashed if isinstance(self.hashed, str) else self.hashed()


@dataclass(frozen=True, slots=True)
class Completion:
    """A way to go on with a filter."""

    text: str
    """The whole filter with the completion in it."""
    cursor: int
    """Where the cursor stands then, in characters from 0."""
    label: str
    """What is inserted."""
    help: str = ""


@dataclass(frozen=True, slots=True)
class Deletion:
    """What was moved to the trash."""

    entry: TrashEntry
    left: ModelRecord | None
    """The model without the version; None when the whole model went."""


@dataclass(frozen=True, slots=True)
class BulkAction:
    """One change for many models; label, state, notes and lineage of `patch` go to the version a reference names."""

    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()
    add_categories: tuple[str, ...] = ()
    remove_categories: tuple[str, ...] = ()
    patch: MetadataPatch | None = None
    delete: bool = False
    """Move to the trash; excludes the others."""
    force: bool = False


@dataclass(frozen=True, slots=True)
class BulkItem:
    """What a bulk action does to one model or version."""

    ref: str
    change: str
    """One sentence part, such as `adds tag vision`; empty when nothing would change."""
    refused: str = ""
    """Why it cannot be done there."""
    code: str = ""
    """Code of that refusal."""
    trash_id: str = ""


@dataclass(frozen=True, slots=True)
class BulkReport:
    """What a bulk action did, or would do; all changes were one transaction."""

    dry_run: bool
    items: tuple[BulkItem, ...]

    @property
    def changed(self) -> int:
        """How many are changed."""
        return sum(bool(item.change) and not item.refused for item in self.items)

    @property
    def refused(self) -> int:
        """How many are refused."""
        return sum(bool(item.refused) for item in self.items)
