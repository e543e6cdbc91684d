"""What workers tell the screen; handlers alone touch widgets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.message import Message

if TYPE_CHECKING:
    from quickserveml_tui.core.benchmarks import BenchmarkFrame, BenchmarkRun
    from quickserveml_tui.core.care import CollectReport, HomeHealth
    from quickserveml_tui.core.catalog import BulkAction, BulkReport, CatalogPage, Completion, ScanHit
    from quickserveml_tui.core.errors import FilterError, QuickServeError
    from quickserveml_tui.core.facts import LayerPage
    from quickserveml_tui.core.hosts import HostStatus
    from quickserveml_tui.core.job_records import JobRecord
    from quickserveml_tui.core.models import TrashEntry
    from quickserveml_tui.core.ports import Workbench
    from quickserveml_tui.tui.jobs import UiJob


class Fact(Message):
    """Base of the messages that workers post."""

    bubble = True


@dataclass
class BackendReady(Fact):
    """Registry and services are loaded."""

    workbench: Workbench


@dataclass
class BackendFailed(Fact):
    """The services could not be loaded."""

    error: QuickServeError


@dataclass
class CatalogLoaded(Fact):
    """The models that match the query."""

    page: CatalogPage
    everything: int
    """Models without the filter."""
    generation: str
    size_bytes: int
    select: str = ""
    """Reference to put the cursor on."""
    rejected: FilterError | None = None
    """Why the filter could not be read; the page is that of the last one that could."""
    text: str = ""
    """Filter of the page."""


@dataclass
class FactsLoaded(Fact):
    """Saved runs of the selected model; stale when `sequence` is not the newest one."""

    sequence: int
    ref: str
    history: tuple[BenchmarkRun, ...]


@dataclass
class LayersLoaded(Fact):
    """The layer table of the selected model."""

    sequence: int
    ref: str
    page: LayerPage | None
    error: QuickServeError | None = None


@dataclass
class SchemaLoaded(Fact):
    """Example request of the selected model, as lines of JSON."""

    sequence: int
    ref: str
    lines: tuple[str, ...] | None
    error: QuickServeError | None = None


@dataclass
class JobAdvanced(Fact):
    """A job got further."""

    job: UiJob

    def can_replace(self, message: Message) -> bool:
        """A newer report of the same job makes an unread one worthless."""
        return isinstance(message, JobAdvanced) and message.job is self.job


@dataclass
class JobEnded(Fact):
    """A job ended with a result or an error."""

    job: UiJob
    result: Any
    error: QuickServeError | None = None


@dataclass
class FramesArrived(Fact):
    """New samples of the running benchmark, coalesced; none may be dropped."""

    job: UiJob
    frames: tuple[BenchmarkFrame, ...]


@dataclass
class HostSampled(Fact):
    """Load of the machine."""

    status: HostStatus

    def can_replace(self, message: Message) -> bool:
        """Only the newest load counts."""
        return isinstance(message, HostSampled)


@dataclass
class ScanFound(Fact):
    """What a folder scan has found so far."""

    folder: str
    hits: tuple[ScanHit, ...]
    finished: bool
    error: QuickServeError | None = None

    def can_replace(self, message: Message) -> bool:
        """Each message holds all hits so far."""
        return isinstance(message, ScanFound) and message.folder == self.folder


@dataclass
class PathsDropped(Fact):
    """A paste named files or folders."""

    paths: tuple[Path, ...]


@dataclass
class ActionDone(Fact):
    """A short change of the catalog went through."""

    sentence: str
    select: str = ""
    trash_ids: tuple[str, ...] = ()
    """What `u` brings back."""


@dataclass
class ActionFailed(Fact):
    """A short call failed."""

    error: QuickServeError
    doing: str


@dataclass
class TextCopied(Fact):
    """Text went to the clipboard, or has to go through the terminal."""

    text: str
    how: str
    """Name of the tool, `terminal` or `file`."""
    sentence: str


@dataclass
class HomeJobsRead(Fact):
    """Jobs of the home, whoever started them."""

    records: tuple[JobRecord, ...]

    def can_replace(self, message: Message) -> bool:
        """Only the newest list counts."""
        return isinstance(message, HomeJobsRead)


@dataclass
class JobResultRead(Fact):
    """What an ended job of another front gave."""

    job: UiJob
    result: Any


@dataclass
class FollowEnded(Fact):
    """The followed benchmark ended, or is followed no longer."""

    job: UiJob
    run: BenchmarkRun | None


@dataclass
class QueueHandedOver(Fact):
    """What waited is recorded and goes on without this process."""

    count: int


@dataclass
class GenerationChanged(Fact):
    """Somebody changed the home."""

    generation: str


@dataclass
class CompletionsFound(Fact):
    """Ways to go on with the filter."""

    text: str
    completions: tuple[Completion, ...]

    def can_replace(self, message: Message) -> bool:
        """Only the newest text counts."""
        return isinstance(message, CompletionsFound)


@dataclass
class TrashRead(Fact):
    """What was deleted, newest first."""

    entries: tuple[TrashEntry, ...]


@dataclass
class NameTaken(Fact):
    """What is to be restored needs another name."""

    what: tuple[str, ...]
    error: QuickServeError


@dataclass
class BulkPlanned(Fact):
    """What a change of the marked would do."""

    selection: tuple[str, ...]
    action: BulkAction
    report: BulkReport


@dataclass
class BulkDone(Fact):
    """What a change of the marked did."""

    action: BulkAction
    report: BulkReport


@dataclass
class HealthRead(Fact):
    """Whether the home can be used in full."""

    health: HomeHealth


@dataclass
class CollectPlanned(Fact):
    """What a collection would remove."""

    report: CollectReport


@dataclass
class NewestInTrash(Fact):
    """What was deleted last, by whatever session; None when the trash is empty."""

    entry: TrashEntry | None


@dataclass
class LogRead(Fact):
    """The end of a job's log."""

    job: UiJob
    text: str


@dataclass
class CatalogFailed(Fact):
    """The models cannot be listed."""

    error: QuickServeError
