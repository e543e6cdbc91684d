"""A benchmark's result as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quickserveml_tui.core.benchmarks import CAPPED, Ending
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.core.units import MISSING, significant

if TYPE_CHECKING:
    from quickserveml_tui.cli.output import Output
    from quickserveml_tui.core.benchmarks import BenchmarkRun, BenchmarkSummary, Outliers

_CAUSES = {
    "steal": "while the hypervisor had the CPU",
    "page fault": "with page faults",
    "unknown": "of unknown cause",
}
_MICRO_BELOW_MS = 0.1
"""Medians below this are shown in microseconds: in milliseconds they would keep one digit."""


def print_run(output: Output, run: BenchmarkRun) -> None:
    """Print latency with intervals, rate, CPU, memory, whether it can be trusted, and how to repeat it."""
    summary = run.summary
    word = f"{plural(summary.n, 'run')} in {significant(summary.elapsed_s)} s"
    if summary.cancelled:
        word += ", cancelled: a partial result"
    if summary.ended_by is Ending.PRECISION:
        word += f", {_precision_words(run)}"
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
            ("Runs", _worth_words(summary)),
            ("Outliers", _outlier_words(summary)),
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
    scale, unit = latency_scale(summary)
    names = ("p50", "p90", "p95", "p99", "min", "max", "mean")
    figures = [significant(getattr(latency, name) * scale).partition(".") for name in names]
    before = max(len(whole) for whole, _, _ in figures)
    after = max(len(dot + rest) for _, dot, rest in figures)
    for name, (whole, dot, rest) in zip(names, figures, strict=True):
        number = whole.rjust(before) + (dot + rest).ljust(after)
        shown = output.style(number, "bold") if name == "p50" else number
        interval = output.style(_interval_text(name, summary, scale), "muted")
        label, unit_text = output.style(name.ljust(10), "muted"), output.style(unit, "muted")
        output.line(f"{label}  {shown} {unit_text}  {interval}".rstrip())


def _interval_text(name: str, summary: BenchmarkSummary, scale: float) -> str:
    from quickserveml_tui.core.statistics import runs_for_interval

    interval = summary.intervals.get(name)
    if interval is not None:
        return f"{significant(interval.low * scale)} to {significant(interval.high * scale)}"
    needed = runs_for_interval(name, summary.n, summary.effective_n)
    return f"interval needs {plural(needed, 'run')}" if summary.n < needed else ""


def _precision_words(run: BenchmarkRun) -> str:
    """`ended as p50 was known to ±0.9 %`."""
    reached = run.summary.precision
    known = f" to ±{significant(100 * reached)} %" if reached is not None else ""
    return f"ended as {run.spec.precision_of} was known{known}"


def _worth_words(summary: BenchmarkSummary) -> str:
    """What the median's interval counts, where that is less than all runs."""
    worth = summary.effective_n.get("p50", summary.n)
    if worth >= summary.n:
        return ""
    return f"{summary.n:,}, worth {worth:,} independent ones: neighbours resemble each other"


def _outlier_words(summary: BenchmarkSummary) -> str:
    """`12 over 3.2 ms (0.1 %): 9 interrupted, 3 unknown`."""
    found = summary.outliers
    if found is None:
        return ""
    if not found.count:
        return "none"
    scale, unit = latency_scale(summary)
    share = significant(100 * found.count / summary.n, 2)
    causes = ", ".join(f"{count:,} {_CAUSES.get(cause, cause)}" for cause, count in by_count(found))
    return f"{found.count:,} over {significant(found.bound_ms * scale)} {unit} ({share} %): {causes}"


def by_count(found: Outliers) -> list[tuple[str, int]]:
    """Causes with how many outliers they had, most first."""
    return sorted(found.causes.items(), key=lambda item: (-item[1], item[0]))


def latency_scale(summary: BenchmarkSummary) -> tuple[float, str]:
    """What milliseconds are multiplied by to be shown, and the unit."""
    return (1000.0, "µs") if 0 < summary.latency_ms.p50 < _MICRO_BELOW_MS else (1.0, "ms")


def _print_trust(output: Output, run: BenchmarkRun) -> None:
    summary = run.summary
    if summary.noisy:
        output.line(f"{output.style('!', 'warn')} Noisy: {safe_text(summary.noise_reason) or MISSING}")
    else:
        output.line(f"{output.style('✓', 'ok')} Quiet machine.")
    sentence = steadiness_sentence(summary)
    if sentence:
        output.line(f"{output.style('!', 'warn')} {sentence}")


def steadiness_sentence(summary: BenchmarkSummary) -> str:
    """What is wrong with the steadiness of a run; empty for nothing."""
    since = summary.steady_from_s
    if since:
        return (
            f"Latency settled {significant(since)} s after it began to be measured, which counts in every figure; "
            "a longer --warmup leaves it out."
        )
    if summary.steady:
        return ""
    moved = f" by {100 * summary.drift:+.1f} %" if summary.drift else ""
    return f"Latency still drifted{moved} while it was measured; a longer run may settle.".replace("-", "−")
