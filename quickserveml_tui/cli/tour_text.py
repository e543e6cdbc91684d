"""The tour as text."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from quickserveml_tui.cli.benchmark_text import print_run
from quickserveml_tui.cli.model_text import facts_pairs, tensors_table
from quickserveml_tui.cli.tables import print_table
from quickserveml_tui.cli.tour import MODEL, command, picture, plot_width
from quickserveml_tui.core.text import plural
from quickserveml_tui.core.units import significant
from quickserveml_tui.reports.models import models_table
from quickserveml_tui.reports.tables import Column, table

if TYPE_CHECKING:
    from quickserveml_tui.cli.output import Output
    from quickserveml_tui.cli.tour import Tour
    from quickserveml_tui.core.benchmarks import BenchmarkRun, HistogramData

_BATCH_COLUMNS = (
    Column("ref", "Model"),
    Column("rows", "Rows", align="right"),
    Column("accuracy", "Accuracy", "%", align="decimal", show=lambda value: f"{value * 100:.2f}"),
    Column("throughput_per_s", "Throughput", "rows/s", align="right", show=significant),
)


def print_tour(output: Output, tour: Tour) -> None:
    """Print what the tour saw, step by step, each with the command that does it."""
    home = tour.home
    _step(output, "1  The catalog", command("list", home=home))
    print_table(output, models_table(tour.page.models))
    _step(output, f"2  What {tour.resolved.ref} is", command("inspect", tour.resolved.ref, home=home))
    output.pairs(facts_pairs(tour.facts))
    output.line()
    print_table(output, tensors_table(tour.facts))
    _step(output, "3  How fast it is", command("benchmark", tour.resolved.ref, home=home))
    print_run(output, tour.run)
    output.line()
    output.lines(histogram(tour.run, unicode=output.unicode))
    _print_guess(output, tour)
    _step(output, "5  How often it is right", "on test data that no version was trained with")
    rows = [(result.ref, result.rows, result.accuracy, result.throughput_per_s) for result in tour.batches]
    print_table(output, table(_BATCH_COLUMNS, rows))
    output.line()
    output.line("Next: quickserveml demo in a terminal opens the workbench on these models; press b there.")
    output.line(f"Serve it: {command('serve', MODEL, home=home)}")


def _step(output: Output, title: str, note: str) -> None:
    output.line()
    output.line(output.style(title, "bold"))
    output.line(output.style(note, "muted"))
    output.line()


def _print_guess(output: Output, tour: Tour) -> None:
    guess = tour.guess
    _step(output, "4  What it says", f"row {guess.row} of the test data")
    output.lines(f"  {line}" for line in picture(guess.pixels))
    right = guess.predicted == guess.expected
    verdict = output.style("✓ right" if right else "✕ wrong", "ok" if right else "error")
    output.line()
    output.line(f"Read as {guess.predicted}; the label says {guess.expected}.  {verdict}")


def histogram(run: BenchmarkRun, *, unicode: bool) -> list[str]:
    """The latency histogram of a run, drawn by plotext."""
    from quickserveml_tui.charts.cells import Charset
    from quickserveml_tui.charts.plot import histogram as draw

    latency, (body, slower) = run.summary.latency_ms, _without_tail(run.summary.histogram)
    drawing = draw(
        body,
        plot_width(),
        10,
        marks={"p50": latency.p50, "p99": latency.p99},
        charset=Charset.BLOCK if unicode else Charset.ASCII,
    )
    note = f"{plural(slower, 'slower run')}, up to {significant(latency.max)} ms, not drawn."
    return [*drawing.plain().splitlines(), *([note] if slower else [])]


def _without_tail(data: HistogramData) -> tuple[HistogramData, int]:
    """The bins below the last one, which collects the tail, and its count, where it would squeeze all others."""
    edges, counts = data.edges_ms, data.counts
    if len(counts) < 3 or edges[-1] - edges[-2] < edges[-2] - edges[0]:
        return data, 0
    return replace(data, edges_ms=edges[:-1], counts=counts[:-1]), counts[-1]
