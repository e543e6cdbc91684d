"""What a server does, as text: a table that fits into 80 columns, and one line per interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from quickserveml_tui.core.monitoring import MonitorSource
from quickserveml_tui.core.text import cell_width, plural, safe_text, truncate, truncate_middle
from quickserveml_tui.core.units import format_bytes, format_duration, significant

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType
    from rich.text import Text

    from quickserveml_tui.core.monitoring import ModelRates, ServerRates, ServerSnapshot

_SOURCES = {
    MonitorSource.OURS: "",
    MonitorSource.TRITON: "by its metrics",
    MonitorSource.PROTOCOL: "by the protocol's statistics",
}
_Show: TypeAlias = "Callable[[ModelRates], str]"
_COUNTS: tuple[tuple[str, _Show], ...] = (
    ("req/s", lambda rates: significant(rates.requests_per_s)),
    ("err/s", lambda rates: significant(rates.errors_per_s)),
)
_PERCENTILES: tuple[tuple[str, _Show], ...] = (
    ("p50 ms", lambda rates: significant(rates.p50_ms)),
    ("p95", lambda rates: significant(rates.p95_ms)),
    ("p99", lambda rates: significant(rates.p99_ms)),
)
_MEANS: tuple[tuple[str, _Show], ...] = (
    ("mean ms", lambda rates: significant(rates.mean_ms)),
    ("run", lambda rates: significant(rates.compute_ms)),
)
_QUEUE: tuple[tuple[str, _Show], ...] = (
    ("queue", lambda rates: significant(rates.queue_ms)),
    ("batch", lambda rates: significant(rates.batch)),
    ("wait", lambda rates: f"{rates.pending:,}"),
)
MIN_MODELS = 3
_GAP = 2
_MIN_NAME = 12


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


def live_view(
    snapshot: ServerSnapshot, rates: ServerRates | None, *, width: int, lines: int, problem: str = ""
) -> RenderableType:
    """The server as it is painted in place, at most so wide and high; `problem` says why it is not newer."""
    from rich.console import Group
    from rich.text import Text

    heads = filter(None, (headline(snapshot), _load(snapshot, rates)))
    parts: list[RenderableType] = [Text(truncate(text, width)) for text in heads]
    parts.append(Text(""))
    if rates is None:
        parts.append(Text("Rates come with the next answer.", style="dim"))
    else:
        parts.append(_table(rates, width, max(lines - 8, MIN_MODELS)))
    end = Text(truncate(problem or "Ctrl-C ends", width), style="red" if problem else "dim")
    return Group(*parts, Text(""), end)


def _table(rates: ServerRates, width: int, room: int) -> Text:
    """Models, the busiest first; the columns that matter least go where it is narrow."""
    from rich.text import Text

    busiest = sorted(rates.models, key=lambda model: (-model.requests_per_s, model.name, model.version))
    shown = busiest[:room] + ([rates.total] if len(busiest) > 1 else [])
    columns = [*_COUNTS, *(_PERCENTILES if any(model.bounds for model in shown) else _MEANS), *_QUEUE]
    cells = [[header, *(show(model) for model in shown)] for header, show in columns]
    widths = [max(map(cell_width, column)) for column in cells]
    while len(cells) > 1 and sum(widths) + _GAP * len(widths) + _MIN_NAME > width:
        cells.pop()
        widths.pop()
    names = ["model", *map(_name, shown)]
    name_width = min(max(map(cell_width, names)), max(width - sum(widths) - _GAP * len(widths), _MIN_NAME))
    text = Text(no_wrap=True)
    for row, name in enumerate(names):
        kept = truncate_middle(name, name_width)
        line = kept + " " * (name_width - cell_width(kept))
        for column, size in zip(cells, widths, strict=True):
            line += " " * (_GAP + size - cell_width(column[row])) + column[row]
        is_quiet = row == 0 or not shown[row - 1].requests_per_s
        style = "dim" if is_quiet else "bold" if shown[row - 1] is rates.total else ""
        text.append(line + "\n", style)
    if len(busiest) > room:
        text.append(f"{len(busiest) - room:,} more models\n", "dim")
    text.rstrip()
    return text


def _name(model: ModelRates) -> str:
    label = f"{model.name}@{model.version}" if model.version else model.name
    return safe_text(label, 200) or "all"
