"""The figures of one side of a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quickserveml_tui.core import statistics
from quickserveml_tui.core.comparing import SideFigures
from quickserveml_tui.services.benchmark_summary import MIN_CPU_S

if TYPE_CHECKING:
    from quickserveml_tui.runtime.turns import SideSamples


def side_figures(side: SideSamples) -> SideFigures:
    """Percentiles over all its inferences; throughput and CPU over the time in which it ran."""
    import numpy as np

    latencies = np.concatenate(side.latencies_ms)
    summary, intervals = statistics.summarise(latencies)
    busy_s = max(side.busy_s, 1e-9)
    count = int(latencies.size)
    return SideFigures(
        n=count,
        p50_ms=summary.p50,
        p50_interval=intervals["p50"],
        p90_ms=summary.p90,
        p95_ms=summary.p95,
        p99_ms=summary.p99,
        mean_ms=summary.mean,
        throughput_per_s=count * side.batch / max(float(latencies.sum()) / 1000, 1e-9),
        cpu_percent=100 * side.cpu_s / busy_s if busy_s >= MIN_CPU_S else None,
        peak_rss_bytes=side.peak_rss_bytes,
        batch=side.batch,
    )
