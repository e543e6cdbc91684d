"""The thread that asks a server again and again: it outlasts a server that goes and comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.core.jobs import CancelToken

if TYPE_CHECKING:
    from quickserveml_tui.core.monitoring import ServerRates, ServerSnapshot
    from quickserveml_tui.core.ports import MonitorPort

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 15.0


@dataclass
class SnapshotArrived(Message):
    """A snapshot, with what it says together with the one before."""

    watch: int
    """Number of the watch: messages of an older one are dropped."""
    snapshot: ServerSnapshot
    rates: ServerRates | None


@dataclass
class WatchFailed(Message):
    """The server did not answer; it is asked again after `again_s` seconds."""

    watch: int
    error: QuickServeError
    again_s: float


def watch_server(
    port: MonitorPort,
    url: str,
    cancel: CancelToken,
    post: Callable[[Message], object],
    *,
    key: str = "",
    interval_s: float = 1.0,
    number: int = 0,
    first_wait_s: float = FIRST_WAIT_S,
) -> None:
    """Post a message per snapshot until cancelled; after a failure try again, later each time.

    Whatever the port raises is told, not raised: this runs in a worker thread.
    """
    wait_s = first_wait_s
    while True:
        failure: QuickServeError | None = None
        try:
            for message in _messages(port, url, cancel, key=key, interval_s=interval_s):
                if cancel.cancelled:
                    return
                message.watch = number
                post(message)
                wait_s = first_wait_s
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the server asked again
            failure = _told(error)
        if cancel.cancelled:
            return
        if failure is not None:
            post(WatchFailed(number, failure, wait_s))
        if cancel.wait(wait_s):
            return
        wait_s = min(wait_s * 2, LONGEST_WAIT_S)


def _messages(
    port: MonitorPort, url: str, cancel: CancelToken, *, key: str, interval_s: float
) -> Iterator[SnapshotArrived]:
    """Snapshots with their rates; each call starts without an earlier one: a gap is no interval."""
    from quickserveml_tui.core.monitor_rates import rates

    before: ServerSnapshot | None = None
    for snapshot in port.watch(url, key=key, interval_s=interval_s, cancel=cancel):
        yield SnapshotArrived(0, snapshot, None if before is None else rates(before, snapshot))
        before = snapshot


def _told(error: BaseException) -> QuickServeError:
    from quickserveml_tui.tui.flows.calls import as_error, log

    if not isinstance(error, QuickServeError):
        log.error("watching a server failed", exc_info=error)
    return as_error(error)
