"""Looking after the stores: health, checks, collection, backups, bundles."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class StoreProblem:
    """Why a store cannot be used in full."""

    store: str
    """`registry`, `artifacts` or `state`."""
    code: str
    """`store.corrupt`, `store.newer_schema`, `store.locked`, `store.read_only`, …"""
    message: str
    hint: str = ""
    command: str = ""
    """The command that repairs it, if there is one."""


@dataclass(frozen=True, slots=True)
class HomeHealth:
    """Whether the home can be used."""

    read_only: bool = False
    """Whether nothing may be written."""
    problems: tuple[StoreProblem, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """One thing that `fsck` found."""

    store: str
    code: str
    """`blob.missing`, `blob.damaged`, `blob.stray`, `registry.dangling_alias`, …"""
    severity: Severity
    subject: str
    """What it is about: `name@version`, a digest, a run id."""
    message: str
    hint: str = ""
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What `fsck` looked at and found."""

    full: bool
    """Whether every byte of every blob was read."""
    models: int = 0
    versions: int = 0
    blobs: int = 0
    bytes_read: int = 0
    rows: int = 0
    elapsed_s: float = 0.0
    findings: tuple[CheckFinding, ...] = ()
    content_digest: str = ""
    """Canonical digest of all that is kept; equal homes have equal digests."""

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong that was not repaired; stray files that collection takes are no fault."""
        return not any(item.severity is Severity.ERROR and not item.repaired for item in self.findings)


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A blob of the artifact store."""

    digest: str
    size_bytes: int
    modified_at: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class CollectReport:
    """What garbage collection removed, or would remove."""

    dry_run: bool
    blobs: int = 0
    """Blobs that nothing needs and that are older than the grace."""
    blob_bytes: int = 0
    young: int = 0
    """Blobs that nothing needs, kept because they are younger than the grace."""
    uploads: int = 0
    """Partial uploads that expired."""
    upload_bytes: int = 0
    cache_entries: int = 0
    """Materialised models evicted to keep the budget."""
    cache_bytes: int = 0
    rows: int = 0
    """Rows of the state database beyond retention."""
    trash: int = 0
    """Deleted models and versions that were forgotten for good."""
    kept_blobs: int = 0
    kept_bytes: int = 0
    digests: tuple[str, ...] = ()
    """The first 1,000 of the blobs."""


@dataclass(frozen=True, slots=True)
class BackupInfo:
    """One generation in a backup folder."""

    id: str
    """Sorts by time: `20261123T101530123Z`."""
    created_at: str
    models: int
    versions: int
    runs: int
    blobs: int
    size_bytes: int
    """Of all its blobs and documents."""
    content_digest: str
    """Canonical digest of what it holds; a restored home has the same."""
    program: str = ""
    """Version of the program that wrote it."""
    new_bytes: int = 0
    """What had to be copied; the rest was there from earlier generations."""
    problems: tuple[str, ...] = ()
    """What verification found, a sentence each."""
    linked: int = 0
    """Files that models reference in place: their paths and digests are kept, their content is not."""
    changes: tuple[str, ...] = ()
    """What a restore changes, such as `adds resnet50` or `2 runs go`; at most 1,000."""
    kept: str = ""
    """Where a restore kept what the home held before: the id of a generation, or a folder in the home."""


@dataclass(frozen=True, slots=True)
class BundleInfo:
    """What an exported version holds."""

    path: str
    ref: str
    digest: str
    """Digest of the artifact."""
    files: int
    size_bytes: int
    benchmarks: int
    golden: int
    members: dict[str, str] = field(default_factory=dict)
    """sha256 by name of each file in the bundle."""
    content_digest: str = ""
    """Equal for bundles with equal content, whatever ids, numbers and times; empty for a plain model."""


@dataclass(frozen=True, slots=True)
class HomeOverview:
    """What the home holds and takes."""

    models: int
    warn_models: int
    """From so many on adding warns."""
    max_models: int
    """From so many on adding is refused."""
    trash: int
    blobs: int
    blob_bytes: int
    cache_bytes: int
    cache_budget_bytes: int
    live_jobs: int
    lost_jobs: int
    kept_generations: int
    """Copies of the registry and the state database in `backups/`."""
    sqlite: str
    """Version of the SQLite library."""
    journal: str
    """`rollback journal` or `write-ahead log`."""
    file_system: str = ""
    """Type of the file system the home lies on; empty where it cannot be told."""
    network: bool = False
    """Whether that is a network file system, where locks cannot be trusted."""
    jobs_known: bool = True
    """Whether jobs could be counted: not while the state database cannot be read."""


@dataclass(frozen=True, slots=True)
class CarePolicy:
    """How long things are kept."""

    cache_budget_bytes: int = 20_000_000_000
    """What materialised models may take; the ones used longest ago go first."""
    grace_s: float = 24 * 3600.0
    """Age from which a blob that nothing needs is collected."""
    trash_s: float = 30 * 24 * 3600.0
    """Age from which collection purges what lies in the trash."""
    keep_runs: int = 1_000
    """Runs of a version that are kept whatever their age."""
    keep_days: float = 365.0
    """Age from which further runs are removed."""
