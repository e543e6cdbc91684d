"""A benchmark's result as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quickserveml_tui.core.benchmarks import CAPPED
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.core.units import MISSING, significant

if TYPE_CHECKING:
    from quickserveml_tui.cli.output import Output
    from quickserveml_tui.core.benchmarks import BenchmarkRun, BenchmarkSummary, Interval

_PERCENTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0}
_MICRO_BELOW_MS = 0.1
"""Medians below this are shown in microseconds: in milliseconds they would keep one digit."""


def print_run(output: Output, run: BenchmarkRun) -> None:
    """Print latency with intervals, rate, CPU, memory, whether it can be trusted, and how to repeat it."""
    summary = run.summary
    word = f"{plural(summary.n, 'run')} in {significant(summary.elapsed_s)} s"
    if summary.cancelled:
        word += ", cancelled: a partial result"
    if run.capped:
        word += f", {CAPPED}"
    output.heading(f"{run.ref}  {word}")
    _print_latency(output, summary)
    output.line()
    unit = "/s" if summary.batch == 1 else f"/s (items, batch {summary.batch:,})"
    output.pairs(
        [
            ("Throughput", f"{significant(summary.throughput_per_s)} {unit}"),
            ("CPU", f"{significant(summary.cpu_percent)} %" if summary.cpu_percent is not None else ""),
            ("Memory", f"{significant(summary.peak_rss_mb)} MB at its peak" if summary.peak_rss_mb is not None else ""),
            ("Warm-up", f"{plural(summary.warmup, 'run')}, in no figure"),
            ("Machine", f"{run.fingerprint.cpu}, {plural(run.fingerprint.cores, 'core')}"),
            ("Runtime", f"{run.fingerprint.runtime}, {run.fingerprint.provider}"),
            ("Golden outputs", run.metadata.get("golden", "")),
            ("Saved as", run.id if run.samples_digest else ""),
        ]
    )
    output.line()
    _print_trust(output, run)
    output.line(output.style(safe_text(run.command), "muted"))


def _print_latency(output: Output, summary: BenchmarkSummary) -> None:
    latency = summary.latency_ms
    scale, unit = (1000.0, "µs") if 0 < latency.p50 < _MICRO_BELOW_MS else (1.0, "ms")
    names = ("p50", "p90", "p95", "p99", "min", "max", "mean")
    figures = [significant(getattr(latency, name) * scale).partition(".") for name in names]
    before = max(len(whole) for whole, _, _ in figures)
    after = max(len(dot + rest) for _, dot, rest in figures)
    for name, (whole, dot, rest) in zip(names, figures, strict=True):
        number = whole.rjust(before) + (dot + rest).ljust(after)
        shown = output.style(number, "bold") if name == "p50" else number
        interval = output.style(_interval_text(name, summary.intervals.get(name), summary.n, scale), "muted")
        label, unit_text = output.style(name.ljust(10), "muted"), output.style(unit, "muted")
        output.line(f"{label}  {shown} {unit_text}  {interval}".rstrip())


def _interval_text(name: str, interval: Interval | None, n: int, scale: float) -> str:
    from quickserveml_tui.core.statistics import needed_runs

    if interval is not None:
        return f"{significant(interval.low * scale)} to {significant(interval.high * scale)}"
    needed = needed_runs(_PERCENTILES[name]) if name in _PERCENTILES else 0
    return f"interval needs {plural(needed, 'run')}" if n < needed else ""


def _print_trust(output: Output, run: BenchmarkRun) -> None:
    summary = run.summary
    if summary.noisy:
        output.line(f"{output.style('!', 'warn')} Noisy: {safe_text(summary.noise_reason) or MISSING}")
    else:
        output.line(f"{output.style('✓', 'ok')} Quiet machine.")
    if not summary.steady:
        output.line(
            f"{output.style('!', 'warn')} Latency still drifted while it was measured; a longer run may settle."
        )
