"""A benchmark's result as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.core.units import MISSING, significant

if TYPE_CHECKING:
    from quickserveml_tui.cli.output import Output
    from quickserveml_tui.core.benchmarks import BenchmarkRun, Interval

# Fewest samples for a finite 95 % interval of the percentile (order statistics).
_NEEDED_RUNS = {"p90": 36, "p95": 72, "p99": 368}


def print_run(output: Output, run: BenchmarkRun) -> None:
    """Print latency with intervals, rate, CPU, memory, whether it can be trusted, and how to repeat it."""
    summary = run.summary
    word = (
        "cancelled, partial result"
        if summary.cancelled
        else f"{plural(summary.n, 'run')} in {significant(summary.elapsed_s)} s"
    )
    output.heading(f"{run.ref}  {word}")
    latency = summary.latency_ms
    names = ("p50", "p90", "p95", "p99", "min", "max", "mean")
    figures = [significant(getattr(latency, name)) for name in names]
    width = max(len(figure.partition(".")[0]) for figure in figures)
    for name, figure in zip(names, figures, strict=True):
        whole, dot, rest = figure.partition(".")
        number = f"{whole:>{width}}{dot}{rest:<3}"
        shown = output.style(number, "bold") if name == "p50" else number
        line = f"{output.style(name.ljust(10), 'muted')}  {shown} {output.style('ms', 'muted')}"
        output.line(
            f"{line}  {output.style(_interval_text(name, summary.intervals.get(name), summary.n), 'muted')}".rstrip()
        )
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
            ("Saved as", run.id if run.samples_digest else ""),
        ]
    )
    output.line()
    _print_trust(output, run)
    output.line(output.style(safe_text(run.command), "muted"))


def _interval_text(name: str, interval: Interval | None, n: int) -> str:
    if interval is not None:
        return f"{significant(interval.low)} to {significant(interval.high)}"
    needed = _NEEDED_RUNS.get(name)
    return f"interval needs {plural(needed, 'run')}" if needed and n < needed else ""


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
