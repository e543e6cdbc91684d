"""Tables of models, layers and benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quickserveml_tui.core.benchmarks import BenchmarkRun
from quickserveml_tui.core.catalog import ModelView
from quickserveml_tui.core.facts import LayerRow
from quickserveml_tui.core.models import ModelRecord, TrashEntry
from quickserveml_tui.core.tensors import format_shape
from quickserveml_tui.core.units import MISSING, format_bytes, format_count, significant
from quickserveml_tui.reports.tables import Column, Table, table

MODEL_COLUMNS = (
    Column("name", "Name"),
    Column("version", "Version", align="right", show=lambda value: f"@{value}" if value else MISSING),
    Column("aliases", "Aliases"),
    Column("task", "Task"),
    Column("dtype", "Type"),
    Column("params", "Params", align="right", show=format_count),
    Column("size_bytes", "Size", align="right", show=format_bytes),
    Column("p50_ms", "p50", "ms", align="decimal", show=significant),
    Column("tags", "Tags"),
    Column("state", "State"),
)


def model_row(view: ModelView) -> tuple[Any, ...]:
    """A model's latest version as a row of `MODEL_COLUMNS`."""
    model, latest = view.model, view.model.latest
    if latest is None:
        return (model.name, None, (), model.task, None, None, None, None, model.tags, "empty")
    facts = latest.facts
    return (
        model.name,
        latest.version,
        _aliases(model),
        model.task,
        facts.main_dtype,
        facts.params,
        latest.artifact.size_bytes,
        view.p50_ms(),
        model.tags,
        latest.status,
    )


def _aliases(model: ModelRecord) -> tuple[str, ...]:
    """The aliases of the latest version, then those of others with their version: `staging`, `prod@2`."""
    latest = model.latest.version if model.latest else 0
    others = [f"{alias}@{number}" for alias, number in sorted(model.aliases.items()) if number != latest]
    return (*model.aliases_of(latest), *others)


def models_table(views: Sequence[ModelView]) -> Table:
    """Models with their latest version."""
    return table(MODEL_COLUMNS, [model_row(view) for view in views])


TRASH_COLUMNS = (
    Column("id", "Id"),
    Column("title", "What"),
    Column("versions", "Versions", align="right"),
    Column("size_bytes", "Size", align="right", show=format_bytes),
    Column("aliases", "Aliases"),
    Column("deleted_at", "Deleted"),
)


def trash_table(entries: Sequence[TrashEntry]) -> Table:
    """What was deleted, newest first."""
    rows = []
    for entry in entries:
        sizes = {item.artifact.digest: item.artifact.size_bytes for item in entry.versions}
        aliases = tuple(sorted(entry.model.aliases)) if entry.model else entry.aliases
        rows.append((entry.id, entry.title, len(entry.versions), sum(sizes.values()), aliases, entry.deleted_at))
    return table(TRASH_COLUMNS, rows)


LAYER_COLUMNS = (
    Column("index", "#", align="right"),
    Column("name", "Name"),
    Column("op", "Operator"),
    Column("depth", "Depth", align="right"),
    Column("output_shape", "Output", show=lambda shape: MISSING if shape is None else format_shape(shape)),
    Column("output_dtype", "Type"),
    Column("params", "Params", align="right", show=format_count),
    Column("macs", "MACs", align="right", show=format_count),
    Column("output_bytes", "Activation", align="right", show=format_bytes),
)


def layers_table(rows: Sequence[LayerRow]) -> Table:
    """Nodes of a graph."""
    return table(
        LAYER_COLUMNS,
        [
            (
                row.index,
                row.name,
                f"{row.domain}:{row.op}" if row.domain not in ("", "ai.onnx") else row.op,
                row.depth,
                row.output_shape,
                row.output_dtype,
                row.params,
                row.macs,
                row.output_bytes,
            )
            for row in rows
        ],
    )


BENCHMARK_COLUMNS = (
    Column("id", "Run"),
    Column("model", "Model"),
    Column("n", "Runs", align="right"),
    *(
        Column(f"{name}_ms", name, "ms", align="decimal", show=significant)
        for name in ("min", "p50", "p90", "p95", "p99", "max", "mean")
    ),
    Column("throughput_per_s", "Throughput", "/s", align="decimal", show=significant),
    Column("cpu_percent", "CPU", "%", align="decimal", show=significant),
    Column("peak_rss_mb", "Memory", "MB", align="decimal", show=significant),
    Column("noisy", "Noisy"),
    Column("created_at", "At"),
)


def benchmarks_table(runs: Sequence[BenchmarkRun]) -> Table:
    """Saved benchmarks, one a row."""
    rows = []
    for run in runs:
        summary, latency = run.summary, run.summary.latency_ms
        rows.append(
            (
                run.id, run.ref, summary.n,
                latency.min, latency.p50, latency.p90, latency.p95, latency.p99, latency.max, latency.mean,
                summary.throughput_per_s, summary.cpu_percent, summary.peak_rss_mb, summary.noisy,
                run.created_at,
            )
        )  # fmt: skip
    return table(BENCHMARK_COLUMNS, rows)
