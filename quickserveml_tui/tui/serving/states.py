"""How a server of this home is, asked from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quickserveml_tui.core.errors import NotPermittedError, QuickServeError

if TYPE_CHECKING:
    from quickserveml_tui.core.monitoring import ServerRates, ServerSnapshot
    from quickserveml_tui.core.ports import MonitorPort
    from quickserveml_tui.core.serving import ServerRecord


@dataclass(frozen=True, slots=True)
class ServerState:
    """A server at one moment."""

    word: str
    """`ready`, `not ready`, `needs a key`, `no answer`."""
    snapshot: ServerSnapshot | None = None
    rates: ServerRates | None = None
    problem: str = ""
    """Why it does not answer, and what to do."""

    def models(self, server: ServerRecord) -> tuple[str, ...]:
        """`name@version` of what it serves now, as it says; what it wrote down where it does not say."""
        if self.snapshot is None:
            return server.models
        served = [model for model in self.snapshot.models if model.state not in ("UNAVAILABLE", "UNLOADING")]
        return tuple(f"{model.name}@{model.version}" for model in served)

    @property
    def pending(self) -> int | None:
        """Requests under way."""
        return None if self.snapshot is None else sum(model.pending for model in self.snapshot.models)


def look_at(port: MonitorPort, server: ServerRecord, key: str, before: ServerState | None) -> ServerState:
    """Ask a server how it is; never raises what the server's own trouble is."""
    from quickserveml_tui.core.monitor_rates import rates

    try:
        snapshot = port.snapshot(server.url, key=key)
    except NotPermittedError as error:
        return ServerState("needs a key", problem=f"{error.message} K enters one.")
    except QuickServeError as error:
        return ServerState("no answer", problem=f"{error.message} {error.hint}")
    known = before.snapshot if before is not None else None
    said = rates(known, snapshot) if known is not None and known.taken_at < snapshot.taken_at else None
    return ServerState("ready" if snapshot.ready else "not ready", snapshot, said)


def host_of(url: str) -> str:
    """The address of a server without what every one has: `127.0.0.1:8000`; https stays."""
    return url.removeprefix("http://")


def pending_of(states: Mapping[str, ServerState], server: ServerRecord) -> int | None:
    """Requests under way on a server, as last seen."""
    state = states.get(server.id)
    return state.pending if state is not None else None
