"""What a server is to serve, what it serves, and the servers of a home."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

PREFERRED_ALIAS = "prod"
"""Requests that name no version go to the one with this alias, where it is served."""


class ServedState(StrEnum):
    """State of one version, by the words of the inference protocol's repository extension."""

    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class ServedSettings:
    """How one version is run."""

    intra_op_threads: int = 1
    isolate: bool = False
    """Run it in a runner process of its own: slower, but it cannot take the worker down."""
    max_batch: int = 0
    """Most rows of a shared run; 0 finds out at load, 1 never shares."""
    max_delay_us: int = 0
    """Longest wait for further requests of a shared run."""


@dataclass(frozen=True, slots=True)
class ServedEntry:
    """One version that is to be served. It ran in a runner and gave its golden outputs before it got here."""

    name: str
    version: str
    """Numeric string; files that are not registered are version 1."""
    path: str
    """Absolute path of the model file."""
    digest: str
    slot: int
    """Row of the counters of every worker: equal for equal (name, version) while it is served."""
    ref: str
    """What people wrote to get it."""
    label: str = ""
    aliases: tuple[str, ...] = ()
    settings: ServedSettings = field(default_factory=ServedSettings)
    task: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    registered: bool = False
    """Whether it is a version of the catalog."""

    @property
    def key(self) -> tuple[str, str]:
        """Name and version."""
        return self.name, self.version

    @property
    def selectors(self) -> tuple[str, ...]:
        """What requests may call the version: its number, label and aliases."""
        return tuple(text for text in (self.version, self.label, *self.aliases) if text)


def unversioned_entry(entries: Sequence[ServedEntry]) -> ServedEntry:
    """Where requests to a model go that name no version; `entries` are its served versions, at least one."""
    preferred = [entry for entry in entries if PREFERRED_ALIAS in entry.aliases]
    return preferred[0] if preferred else max(entries, key=lambda entry: int(entry.version))


def default_entry(entries: Sequence[ServedEntry], wanted: tuple[str, str] | None) -> ServedEntry | None:
    """The version behind the short routes: the one wanted, else that of unversioned requests to its model.

    Without a model that is served it is that of the first entry; None where there is none.
    """
    if not entries:
        return None
    name, version = wanted or ("", "")
    mine = [entry for entry in entries if entry.name == name]
    if not mine:
        return unversioned_entry([entry for entry in entries if entry.name == entries[0].name])
    exact = next((entry for entry in mine if version in entry.selectors), None)
    return exact or unversioned_entry(mine)


@dataclass(frozen=True, slots=True)
class DesiredState:
    """The one document that all workers follow; a higher revision replaces a lower one whole."""

    revision: int
    entries: tuple[ServedEntry, ...]
    default: tuple[str, str] | None = None
    """Name and version (may be empty) behind the short routes; see `default_entry`."""


@dataclass(frozen=True, slots=True)
class ServedStatus:
    """One version with its state, as the repository index shows it."""

    name: str
    version: str
    state: ServedState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class WorkerCrash:
    """How often a version took a worker down, by the signal that ended it."""

    model: str
    """Empty where no model was running."""
    version: str
    signal: str
    """`SIGSEGV` and so on; empty for an exit by itself."""
    count: int


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """What `serve` is asked to do, as a front writes it: the options of the command by their names."""

    refs: tuple[str, ...] = ()
    every: bool = False
    """All models of the catalog that run: their `prod` version, else the newest ready one."""
    options: tuple[tuple[str, str], ...] = ()
    """Further options without dashes and their values, such as `("port", "8000")`; an empty value is a flag."""


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """A running server of this home, as it wrote itself down."""

    id: str
    pid: int
    url: str
    started_at: str
    models: tuple[str, ...] = ()
    """`name@version` of everything it serves."""
    grpc_url: str = ""
    workers: int = 1
    command: str = ""
    """The command that starts it again."""
    log_path: str = ""
    """Its log, where it writes one."""
    auth: str = "none"
    """`none` or `keys`."""
    boot: str = ""
    """Boot of the machine, and name space of its processes, that `pid` belongs to."""
    born: int = 0
    """Start time of the process as its system counts it: tells it from a later one with the same number."""
