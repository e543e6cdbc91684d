"""`monitor`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import HomeOption, JsonOption
from quickserveml_tui.cli.remote import KeyOption, api_key
from quickserveml_tui.core.errors import NotFoundError, UnavailableError, UsageError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import RenderableType

    from quickserveml_tui.core.monitoring import ServerRates, ServerSnapshot
    from quickserveml_tui.core.ports import MonitorPort

_MAX_COUNT = 1_000_000_000


def monitor(
    url: Annotated[
        str,
        Argument(
            metavar="[URL]", help="Address of a server; the one of this home that runs by default.", show_default=False
        ),
    ] = "",
    *,
    interval: Annotated[str, Option("--interval", metavar="TIME", help="Time between answers, 100ms to 1h.")] = "1s",
    count: Annotated[
        int | None, Option("--count", metavar="N", help="End after so many intervals.", show_default=False)
    ] = None,
    key: KeyOption = "",
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Watch a server: rates, latency, errors, CPU, per model.

    Works on every server that speaks the Open Inference Protocol: ours in full, Triton by its metrics (the address of
    its metrics port tells most), others by the protocol's statistics. With --json one document a line, elsewhere than
    on a terminal one line per interval. Ctrl-C ends it.
    """
    output = invocation.note(home=home, as_json=as_json).output
    interval_s = parse_duration(interval)
    if count is not None and not 1 <= count <= _MAX_COUNT:
        raise UsageError("The number of intervals is out of range.", hint="Give 1 or more.", code="usage.count")
    with invocation.workbench() as workbench:
        address = url or _only_server(tuple(record.url for record in workbench.servers.list()))
        secret = api_key(key, address)
        show: Callable[[_Moments], None] = _paint if output.interactive and not output.as_json else _write
        token = CancelToken()
        moments = _Moments(workbench.monitor, address, secret, interval_s, token)
        _until_interrupted(lambda: show(moments.limited(count)), token)


def _only_server(urls: tuple[str, ...]) -> str:
    if len(urls) == 1:
        return urls[0]
    if not urls:
        raise NotFoundError(
            "No server of this home runs.",
            hint="Start one with `quickserveml serve`, or give the address of another one.",
            code="server.none",
        )
    listed = ", ".join(safe_text(url, 60) for url in urls[:8])
    raise UsageError(f"{len(urls)} servers of this home run.", hint=f"Name one: {listed}.", code="usage.which_server")


def _until_interrupted(work: Callable[[], None], token: CancelToken) -> None:
    """Do the work until it ends or Ctrl-C, which is how watching ends: no failure."""
    from quickserveml_tui.cli.work import run_cancellable
    from quickserveml_tui.core.errors import CancelledError

    def run(cancel: CancelToken) -> None:
        forget = cancel.on_cancel(token.cancel)
        try:
            work()
        finally:
            forget()

    try:
        run_cancellable(run)
    except (CancelledError, KeyboardInterrupt):
        token.cancel()


class _Moments:
    """Snapshots of one server, each with the rates since the one before."""

    def __init__(self, port: MonitorPort, url: str, key: str, interval_s: float, cancel: CancelToken) -> None:
        self._port, self._url, self._key = port, url, key
        self.interval_s, self.cancel = interval_s, cancel
        self._count: int | None = None
        self._given = 0
        """Intervals so far, those before a server went and came back among them."""

    def limited(self, count: int | None) -> _Moments:
        """Itself, ending after so many intervals."""
        self._count = count
        return self

    def __iter__(self) -> Iterator[tuple[ServerSnapshot, ServerRates | None]]:
        from quickserveml_tui.core.monitor_rates import rates

        before: ServerSnapshot | None = None
        watched = self._port.watch(self._url, key=self._key, interval_s=self.interval_s, cancel=self.cancel)
        for now in watched:
            yield now, None if before is None else rates(before, now)
            self._given += before is not None
            if self._count is not None and self._given >= self._count:
                return
            before = now


def _write(moments: _Moments) -> None:
    """A document or a line per interval."""
    from quickserveml_tui.cli.monitor_text import headline, interval_line

    output = invocation.output
    is_begun = False
    for snapshot, rates in moments:
        if not output.as_json and not is_begun:
            is_begun = True
            output.line(headline(snapshot))
        if rates is not None:
            if output.as_json:
                import json

                output.write(json.dumps(document(snapshot, rates), ensure_ascii=not output.unicode) + "\n")
            else:
                output.line(interval_line(snapshot, rates))
        output.stream.flush()


def document(snapshot: ServerSnapshot, rates: ServerRates) -> dict[str, Any]:
    """An interval as `--json` prints it: the server now, and its rates since the answer before."""
    from quickserveml_tui.cli.documents import plain

    server: dict[str, Any] = plain(snapshot)
    server.pop("models")
    server["pending"] = rates.total.pending
    return {"url": snapshot.url, "source": snapshot.source.value, "server": server, "rates": plain(rates)}


def _paint(moments: _Moments) -> None:
    """A table in place; a server that does not answer for a while is waited for."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from quickserveml_tui.cli.monitor_text import live_view

    console = Console(file=sys.stdout, highlight=False, no_color=bool(os.environ.get("NO_COLOR")))
    last: tuple[ServerSnapshot, ServerRates | None] | None = None

    def view(problem: str = "") -> RenderableType:
        assert last is not None
        return live_view(*last, width=console.size.width, lines=console.size.height, problem=problem)

    with Live(Text("Waiting for the server …"), console=console, auto_refresh=False) as live:
        while not moments.cancel.cancelled:
            try:
                for moment in moments:
                    last = moment
                    live.update(view(), refresh=True)
                return
            except UnavailableError as error:
                if last is None:  # it was never there
                    raise
                live.update(view(error.message), refresh=True)
                moments.cancel.wait(moments.interval_s)
