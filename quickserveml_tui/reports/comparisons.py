"""Comparisons as tables."""

from __future__ import annotations

from quickserveml_tui.core.comparing import ComparedSide, Comparison
from quickserveml_tui.core.units import significant
from quickserveml_tui.reports.tables import Column, Table, table

_MICRO_BELOW_MS = 0.1


def sides_table(found: Comparison) -> Table:
    """One row for each side: latency, throughput, CPU and memory, and its ratio to the baseline."""
    micro = found.baseline.figures.p50_ms < _MICRO_BELOW_MS
    unit, scale = ("µs", 1000.0) if micro else ("ms", 1.0)

    def latency(value: float) -> str:
        return significant(value * scale)

    columns = [
        Column("side", "side", show=str),
        Column("n", "runs", align="right", show=lambda value: f"{value:,}"),
        *(
            Column(f"{name}_ms", name, unit=unit, align="decimal", show=latency)
            for name in ("p50", "p90", "p99", "mean")
        ),
        Column("throughput_per_s", "throughput", unit="/s", align="decimal", show=significant),
        Column("cpu_percent", "CPU", unit="%", align="decimal", show=significant),
        Column("peak_rss_mb", "memory", unit="MB", align="decimal", show=significant),
    ]
    return table(columns, [_row(side) for side in found.sides])


def _row(side: ComparedSide) -> tuple[object, ...]:
    figures = side.figures
    return (
        side.side.name,
        figures.n,
        figures.p50_ms,
        figures.p90_ms,
        figures.p99_ms,
        figures.mean_ms,
        figures.throughput_per_s,
        figures.cpu_percent,
        figures.peak_rss_mb,
    )
