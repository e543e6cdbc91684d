"""What the routes of a worker may use, and what a worker asks of the process above it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from quickserveml_tui.core.access import Principal

if TYPE_CHECKING:
    from quickserveml_tui.core.monitoring import WorkerSnapshot
    from quickserveml_tui.core.ports import Workbench
    from quickserveml_tui.core.serving import ServedStatus, WorkerCrash
    from quickserveml_tui.server.options import ServeOptions
    from quickserveml_tui.services.serving import ServingService
    from quickserveml_tui.services.serving_stats import Counters


class Control(Protocol):
    """The supervisor as a worker sees it. Called in the event loop.

    The calls that wait return once all workers have converged, or raise the `QuickServeError` that stopped them, and
    then nothing has changed.
    """

    @property
    def revision(self) -> int:
        """Of the desired state that this worker follows."""
        ...

    async def load(self, name: str, versions: Sequence[str] = ()) -> None:
        """Serve a model of the catalog or the repository folder: these versions, or what its version policy says.

        Versions are numbers, labels or aliases. Served already, it is looked at again: what has changed is swapped,
        new before old.
        """
        ...

    async def unload(self, name: str, version: str = "") -> None:
        """Stop serving a version, or all of a model. Raises `NotFoundError`."""
        ...

    def statuses(self) -> tuple[ServedStatus, ...]:
        """Everything that is served, comes, goes, or could not be loaded."""
        ...

    def workers(self) -> tuple[WorkerSnapshot, ...]:
        """All workers; a snapshot at most a second old."""
        ...

    def crashes(self) -> tuple[WorkerCrash, ...]:
        """Workers that died, by what they were running, since the server started: `qsml_worker_crashes_total`."""
        ...


class Caller(Principal, Protocol):
    """A principal with its limits."""

    @property
    def limited(self) -> bool:
        """Whether its requests are counted."""
        ...

    def admit(self, now: float) -> Admission:
        """Count one request at `now` (`time.monotonic`)."""
        ...


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a counted request may pass, and the header lines that its answer gets."""

    allowed: bool
    headers: tuple[tuple[str, str], ...] = ()
    """RateLimit headers, and Retry-After for a refused one."""
    code: str = "rate.limited"
    """`rate.limited` or `rate.quota` for a refused one."""


class Gatekeeper(Protocol):
    """Finds out who a request comes from."""

    @property
    def version(self) -> int:
        """Changes when what was found out before may not hold any more: a key was made, changed, or expired."""
        ...

    def identify(self, headers: Sequence[tuple[bytes, bytes]]) -> Caller:
        """The caller by the headers (names in lower case) of a request, or by the metadata of a gRPC call.

        Raises `NotPermittedError` with HTTP status 401: `auth.missing`, `auth.invalid`, `auth.expired`, `auth.revoked`.
        """
        ...


class Asked(NamedTuple):
    """What the access log says of a request before it is answered; one object for all requests with equal heads."""

    method: bytes = b""
    target: bytes = b""
    """As it was sent, with its query."""
    caller: str = "-"
    """Id of the API key."""
    trace: str = ""
    named: bool = False
    """Whether the request id came from outside."""


class AccessLog(Protocol):
    """Takes note of requests. Called in the event loop for each one: it must cost next to nothing."""

    def note(  # noqa: PLR0917 - called once a request: keywords would cost
        self, asked: Asked, status: int, elapsed_ns: int, received: int, sent: int, request_id: bytes
    ) -> None:
        """A request is answered; sizes are bytes of the bodies."""
        ...


@dataclass(frozen=True, slots=True)
class ServerContext:
    """What the routes of a worker may use."""

    options: ServeOptions
    serving: ServingService
    """What this worker serves."""
    control: Control
    gatekeeper: Gatekeeper
    counters: Sequence[Counters]
    """Of all workers, this one included; read-only for all but their owner."""
    worker: int
    """Index of this worker."""
    started_at: float
    """Start of the server, Unix time."""
    workbench: Workbench | None = None
    """The catalog; None where only files are served."""
    access_log: AccessLog | None = None
    """Gets a note of every request; None where nobody reads them."""
