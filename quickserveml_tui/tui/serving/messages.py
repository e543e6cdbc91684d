"""What worker threads tell the Serve screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.message import Message

if TYPE_CHECKING:
    from quickserveml_tui.charts.cells import Row
    from quickserveml_tui.core.errors import QuickServeError
    from quickserveml_tui.core.serving import ServerRecord
    from quickserveml_tui.tui.serving.examples import Example
    from quickserveml_tui.tui.serving.states import ServerState


@dataclass
class ServersListed(Message):
    """The servers of the home and how each is."""

    servers: tuple[ServerRecord, ...]
    states: dict[str, ServerState]


@dataclass
class StopWeighed(Message):
    """What stopping a server would interrupt is known."""

    server: ServerRecord
    pending: int | None
    """Requests under way; None where the server did not say."""


@dataclass
class ServerStopped(Message):
    """A server has ended."""

    server: ServerRecord


@dataclass
class LogRead(Message):
    """What a server wrote since the last time."""

    server_id: str
    text: str
    offset: int


@dataclass
class ModelsFound(Message):
    """What a server serves."""

    server_id: str
    models: tuple[dict[str, Any], ...]


@dataclass
class ExampleFound(Message):
    """An example request of a model; or why there is none."""

    server_id: str
    path: str
    example: Example | None = None
    error: QuickServeError | None = None


@dataclass
class AnswerArrived(Message):
    """A server answered a request, or did not."""

    sequence: int
    status: int = 0
    elapsed_ms: float = 0.0
    size: int = 0
    rows: tuple[Row, ...] = ()
    text: str = ""
    """The answer as text, cut where it is long: for copies."""
    error: QuickServeError | None = None
