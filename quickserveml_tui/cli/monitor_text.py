"""What a server does, as text: a table that fits into 80 columns, and one line per interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quickserveml_tui.core.monitoring import MonitorSource
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.core.units import format_bytes, format_duration, significant

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType
    from rich.table import Table

    from quickserveml_tui.core.monitoring import ModelRates, ServerRates, ServerSnapshot

_SOURCES = {
    MonitorSource.OURS: "",
    MonitorSource.TRITON: "by its metrics",
    MonitorSource.PROTOCOL: "by the protocol's statistics",
}
_COLUMNS: tuple[tuple[str, Callable[[ModelRates], str]], ...] = (
    ("req/s", lambda rates: significant(rates.requests_per_s)),
    ("err/s", lambda rates: significant(rates.errors_per_s)),
    ("p50 ms", lambda rates: significant(rates.p50_ms if rates.bounds else rates.mean_ms)),
    ("p95", lambda rates: significant(rates.p95_ms)),
    ("p99", lambda rates: significant(rates.p99_ms)),
    ("queue", lambda rates: significant(rates.queue_ms)),
    ("batch", lambda rates: significant(rates.batch)),
    ("wait", lambda rates: f"{rates.pending:,}"),
)
MIN_MODELS = 3


def headline(snapshot: ServerSnapshot) -> str:
    """The server in one line."""
    name = " ".join(filter(None, (snapshot.name or "server", snapshot.version)))
    parts = [f"{name} at {snapshot.url}", _SOURCES[snapshot.source]]
    parts.append(f"up {format_duration(snapshot.uptime_s)}" if snapshot.uptime_s else "")
    parts.append("" if snapshot.ready else "not ready")
    return "  ".join(filter(None, parts))


def _load(snapshot: ServerSnapshot, rates: ServerRates | None) -> str:
    parts = []
    if rates is not None and rates.cpu_cores is not None:
        parts.append(f"CPU {significant(rates.cpu_cores * 100)} %")
    elif snapshot.cpu_percent is not None:
        parts.append(f"machine {significant(snapshot.cpu_percent)} %")
    if rates is not None and rates.rss_bytes:
        parts.append(f"memory {format_bytes(rates.rss_bytes)}")
    parts += [f"GPU {gpu.index} {significant(gpu.utilisation * 100)} %" for gpu in snapshot.gpus[:4]]
    if rates is not None and rates.restarts:
        parts.append(plural(rates.restarts, "worker restart"))
    return "  ".join(parts)


def interval_line(snapshot: ServerSnapshot, rates: ServerRates) -> str:
    """One interval of a server in one line."""
    total = rates.total
    parts = [
        f"{significant(total.requests_per_s)} req/s",
        f"{significant(total.errors_per_s)} err/s",
        f"p50 {significant(total.p50_ms)} ms" if total.bounds else f"mean {significant(total.mean_ms)} ms",
        f"p95 {significant(total.p95_ms)}" if total.bounds else "",
        f"p99 {significant(total.p99_ms)}" if total.bounds else "",
        f"batch {significant(total.batch)}",
        f"{total.pending:,} pending",
        "" if snapshot.ready else "not ready",
        _load(snapshot, rates),
    ]
    return "  ".join(filter(None, parts))


def live_view(snapshot: ServerSnapshot, rates: ServerRates | None, *, lines: int, problem: str = "") -> RenderableType:
    """The server as it is painted in place, at most `lines` high; `problem` says why it is not newer."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [
        Text(text, no_wrap=True, overflow="ellipsis") for text in (headline(snapshot), _load(snapshot, rates), "")
    ]
    if rates is None:
        parts.append(Text("Rates come with the next answer.", style="dim"))
    else:
        parts.append(_table(rates, max(lines - 8, MIN_MODELS)))
    parts += [Text(""), Text(problem or "Ctrl-C ends", style="red" if problem else "dim", overflow="ellipsis")]
    return Group(*parts)


def _table(rates: ServerRates, room: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_edge=False, header_style="dim", expand=False)
    table.add_column("model", overflow="ellipsis", no_wrap=True, ratio=None, min_width=10)
    exact = any(model.bounds for model in rates.models) or not rates.models
    for header, _show in _COLUMNS:
        shown = "mean ms" if header == "p50 ms" and not exact else header
        table.add_column(shown, justify="right", no_wrap=True, min_width=len(shown))
    busiest = sorted(rates.models, key=lambda model: (-model.requests_per_s, model.name, model.version))
    for model in busiest[:room]:
        label = f"{safe_text(model.name, 60)}@{safe_text(model.version, 20)}" if model.version else model.name
        name = Text(label, style="" if model.requests_per_s else "dim", no_wrap=True, overflow="ellipsis")
        table.add_row(name, *(Text(show(model)) for _header, show in _COLUMNS))
    if len(busiest) > room:
        table.add_row(Text(f"{len(busiest) - room:,} more", style="dim"), *[""] * len(_COLUMNS))
    if len(busiest) > 1:
        table.add_row(Text("all", style="bold"), *(Text(show(rates.total), style="bold") for _h, show in _COLUMNS))
    return table
