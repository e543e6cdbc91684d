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

    @property
    def pending(self) -> int | None:
        """Requests under way."""
        return None if self.snapshot is None else sum(model.pending for model in self.snapshot.models)


def look_at(port: MonitorPort, server: ServerRecord, key: str, before: ServerState | None) -> ServerState:
    """Ask a server how it is; never raises what the server's own trouble is."""
    from quickserveml_tui.core.monitor_rates import rates

    try:
        snapshot = port.snapshot(server.url, key=key)
    except NotPermittedError:
        return ServerState("needs a key")
    except QuickServeError:
        return ServerState("no answer")
    known = before.snapshot if before is not None else None
    said = rates(known, snapshot) if known is not None and known.taken_at < snapshot.taken_at else None
    return ServerState("ready" if snapshot.ready else "not ready", snapshot, said)


def pending_of(states: Mapping[str, ServerState], server: ServerRecord) -> int | None:
    """Requests under way on a server, as last seen."""
    state = states.get(server.id)
    return state.pending if state is not None else None
