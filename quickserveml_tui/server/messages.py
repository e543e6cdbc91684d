"""What supervisor and workers say to each other.

A change of what is served has two phases: every worker loads what is new (`Prepare`, `Loaded`), and only when all have,
every worker switches its routes (`Commit`, `Converged`); so a version that one of them cannot load changes nothing.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from quickserveml_tui.core import errors
from quickserveml_tui.core.errors import QuickServeError, UnavailableError
from quickserveml_tui.core.serving import DesiredState, ServedStatus, WorkerCrash
from quickserveml_tui.server.options import ServeOptions


class ErrorNote(msgspec.Struct, frozen=True):
    """An error on its way: the class of `core.errors` by name, and its parts."""

    kind: str
    code: str
    message: str
    hint: str = ""
    detail: str = ""

    @classmethod
    def of(cls, error: QuickServeError) -> ErrorNote:
        """The note of an error; one of a class that `core.errors` lacks goes by its nearest base."""
        kind = next(base for base in type(error).__mro__ if getattr(errors, base.__name__, None) is base)
        return cls(kind.__name__, error.code, error.message, error.hint, error.detail)

    def to_error(self) -> QuickServeError:
        """The error of the note."""
        kind = getattr(errors, self.kind, None)
        if not (isinstance(kind, type) and issubclass(kind, QuickServeError)) or kind is errors.FilterError:
            kind = UnavailableError
        return kind(self.message, hint=self.hint, code=self.code, detail=self.detail)


# ---- to a worker


class Setup(msgspec.Struct, frozen=True, tag="setup"):
    """The first message: who the worker is and what it has inherited."""

    index: int
    options: ServeOptions
    started_at: float
    """Start of the server, Unix time."""
    folder: str
    """Folder with the counters files of all workers."""
    listeners: tuple[int, ...]
    """Descriptors of the listening sockets."""
    may_be_empty: bool = False
    """Whether the server is ready while it serves nothing."""
    read_only: bool = False
    """Whether the home may only be read."""


class Prepare(msgspec.Struct, frozen=True, tag="prepare"):
    """Load what is new in a desired state; nothing is switched yet."""

    state: DesiredState


class Commit(msgspec.Struct, frozen=True, tag="commit"):
    """Serve the prepared state of this revision, and let go of what it lacks."""

    revision: int


class Abort(msgspec.Struct, frozen=True, tag="abort"):
    """Forget the prepared state of this revision."""

    revision: int


class WorkerNote(msgspec.Struct, frozen=True):
    """A worker as the supervisor sees it."""

    index: int
    pid: int
    ready: bool
    restarts: int


class Note(msgspec.Struct, frozen=True, tag="note"):
    """What has changed of the whole server."""

    statuses: tuple[ServedStatus, ...]
    workers: tuple[WorkerNote, ...]
    crashes: tuple[WorkerCrash, ...]


class Drain(msgspec.Struct, frozen=True, tag="drain"):
    """Finish what is under way and end."""


class Reload(msgspec.Struct, frozen=True, tag="reload"):
    """Read the files of the certificate and its key again."""


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """What became of an `Ask`."""

    id: int
    error: ErrorNote | None = None


# ---- from a worker


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The worker's interpreter and libraries are up."""

    pid: int


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """All models of a prepared state are loaded."""

    revision: int


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """A version of a prepared state could not be loaded."""

    revision: int
    name: str
    version: str
    error: ErrorNote


class Broken(msgspec.Struct, frozen=True, tag="broken"):
    """The worker cannot serve at all and ends, such as for a certificate or a port that cannot be used."""

    error: ErrorNote


class Converged(msgspec.Struct, frozen=True, tag="converged"):
    """A state is served."""

    revision: int
    example: str = ""
    """Body of an example request to the default model as JSON; empty where there is none."""
    grpc_port: int = 0
    """Port of gRPC; 0 without it."""


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """Load or unload a model, for somebody who waits."""

    id: int
    operation: str
    """`load` or `unload`."""
    name: str
    versions: tuple[str, ...] = ()


ToWorker: TypeAlias = Setup | Prepare | Commit | Abort | Note | Drain | Reload | Answer
FromWorker: TypeAlias = Hello | Loaded | Failed | Broken | Converged | Ask
