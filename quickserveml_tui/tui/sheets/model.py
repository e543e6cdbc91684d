"""The inspector's sheets: overview, inputs and outputs, metadata."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.core.benchmarks import BenchmarkRun
from quickserveml_tui.core.facts import ModelFacts
from quickserveml_tui.core.models import ModelRecord, VersionRecord
from quickserveml_tui.core.tensors import TensorSpec, format_shape, short_dtype
from quickserveml_tui.core.text import cell_width, plural, safe_text, truncate_middle
from quickserveml_tui.core.units import MISSING, bytes_parts, count_parts, format_bytes, format_count, significant
from quickserveml_tui.tui.feed_fields import feed_words, free_dims
from quickserveml_tui.tui.glyphs import Glyphs
from quickserveml_tui.tui.sheets.details import detail_rows
from quickserveml_tui.tui.sheets.rows import BLANK, bars, heading, labelled, pair, paragraph, state_spans
from quickserveml_tui.tui.sheets.runs import latency_unit
from quickserveml_tui.tui.sheets.subject import Subject
from quickserveml_tui.tui.sheets.trial import format_rows, reason_of, reason_rows, trial_spans
from quickserveml_tui.tui.widgets.ink import say, two_edges
from quickserveml_tui.tui.widgets.shelf import Fact

MAX_OPS = 10
MAX_TENSORS = 300
MAX_DIMS = 24
MAX_PAIRS = 100
MAX_WARNINGS = 20


def headline_facts(facts: ModelFacts, *, counting: str = "", counted: bool = True) -> list[Fact]:
    """The six figures that say what a model is; `counting` stands for those that are still to come.

    These are the multiply-adds, and the parameters unless they were `counted`.
    """
    params, params_unit = count_parts(facts.params) if counted or not counting else (counting, "")
    macs, macs_unit = (counting, "") if counting else count_parts(facts.macs)
    size, size_unit = bytes_parts(facts.size_bytes)
    quiet = Role.MUTED if counting else Role.STRONG
    return [
        Fact("params", params, params_unit, Role.STRONG if counted else quiet),
        Fact("size", size, size_unit),
        Fact("dtype", short_dtype(safe_text(facts.main_dtype, 12)) or MISSING),
        Fact("MACs", macs, macs_unit, quiet),
        Fact("nodes", f"{facts.nodes:,}"),
        Fact("opset", str(facts.opsets.get("ai.onnx", next(iter(facts.opsets.values()), MISSING)))),
    ]


def newest_by_version(history: Sequence[BenchmarkRun]) -> dict[int, BenchmarkRun]:
    """The newest complete run of each version, ascending."""
    newest: dict[int, BenchmarkRun] = {}
    for run in reversed(history):
        if run.version is not None and not run.summary.cancelled:
            newest[run.version] = run
    return dict(sorted(newest.items()))


def p50_by_version(history: Sequence[BenchmarkRun], current: int | None, width: int, glyphs: Glyphs) -> list[Row]:
    """p50 of each measured version as bars."""
    newest = newest_by_version(history)
    items = [
        (f"@{number}", p50, latency_unit(p50).text(p50), latency_unit(p50).name)
        for number, p50 in ((number, run.summary.latency_ms.p50) for number, run in newest.items())
    ]
    return bars(items[-12:], width, glyphs, current=f"@{current}" if current else "")


def overview_rows(subject: Subject, width: int, glyphs: Glyphs) -> list[Row]:
    """What the model is, what it takes and gives, what it is made of, and how fast it was."""
    rows = _identity(subject, width, glyphs)
    if subject.model is not None and subject.version is not None:
        details = detail_rows(subject.model, subject.version, width, glyphs)
        rows += [BLANK, *details] if details else []
    rows += [BLANK, heading("Takes and gives", width)]
    rows += _tensors("in", subject.facts.inputs, width) + _tensors("out", subject.facts.outputs, width)
    ops = sorted(subject.facts.op_types.items(), key=lambda item: (-item[1], item[0]))
    if subject.counting and not subject.counted:
        rows += [BLANK, heading("What it is made of", width, [say("counting…", Role.MUTED)])]
    if ops:
        rest = len(ops) - MAX_OPS
        right = [say(plural(subject.facts.nodes, "node"), Role.MUTED)]
        rows += [BLANK, heading("What it is made of", width, right)]
        rows += bars(
            (
                (op, count, f"{count:,}", f"{100 * count / max(subject.facts.nodes, 1):5.1f} %")
                for op, count in ops[:MAX_OPS]
            ),
            width,
            glyphs,
        )
        if rest > 0:
            rows.append((say(f"and {plural(rest, 'further operator')}", Role.MUTED),))
    if newest_by_version(subject.history):
        rows += [BLANK, heading("p50 by version", width, [say("newest complete run", Role.MUTED)])]
        number = subject.version.version if subject.version else None
        rows += p50_by_version(subject.history, number, width, glyphs)
    return rows + _findings(subject, width, glyphs)


def _identity(subject: Subject, width: int, glyphs: Glyphs) -> list[Row]:
    facts, version, model = subject.facts, subject.version, subject.model
    what = model.task if model and model.task else facts.graph_name
    left = [say(subject.ref, Role.STRONG, bold=True), Span("  "), say(what, Role.MUTED)]
    rows: list[Row] = [two_edges(left, _state(subject, glyphs), width)]
    if model and model.description:
        rows += paragraph(model.description, width)
    if subject.trial is not None and reason_of(subject.trial):
        rows += reason_rows(subject.trial, width, keys=(("w", "why"), ("W", "try again")))
    if subject.problem:
        what_lacks = "multiply-adds" if subject.counted else "totals"
        rows += paragraph(f"The {what_lacks} are not known: {subject.problem}", width, Role.ERROR)
    rows += format_rows(subject.compatibility, width, glyphs, convertible=version is not None)
    counting = "counting…" if subject.counting else MISSING if subject.problem else ""
    formats = [Fact("IR", str(facts.ir_version)), Fact("inputs", f"{len(facts.inputs):,}"),
               Fact("outputs", f"{len(facts.outputs):,}")]  # fmt: skip
    headline = headline_facts(facts, counting=counting, counted=subject.counted)
    return [*rows, BLANK, *_grid([*headline, *formats], width)]


def _state(subject: Subject, glyphs: Glyphs) -> list[Span]:
    if subject.version is not None:
        return state_spans(subject.version, glyphs)
    if subject.tried is not None:
        return trial_spans(subject.tried, glyphs)
    return [say("a file, not tried", Role.MUTED)]


def _grid(facts: Sequence[Fact], width: int) -> list[Row]:
    columns = 3 if width >= 57 else 2
    each = (width - 4 * (columns - 1)) // columns
    per_column = -(-len(facts) // columns)
    unit_widths = [
        max((cell_width(fact.unit) for fact in facts[at * per_column : (at + 1) * per_column]), default=0)
        for at in range(columns)
    ]
    rows: list[Row] = []
    for at in range(per_column):
        row: list[Span] = []
        for column in range(columns):
            index = column * per_column + at
            if index < len(facts):
                fact = facts[index]
                right = [
                    say(fact.value, fact.role),
                    say(f" {fact.unit:<{unit_widths[column]}}" if unit_widths[column] else "", Role.MUTED),
                ]
                row += [Span("    ")] if column else []
                last = column == columns - 1
                room = width - (each + 4) * (columns - 1) if last else each
                row += two_edges([say(fact.label, Role.MUTED)], right, room)
        rows.append(tuple(row))
    return rows


def _tensors(side: str, tensors: Sequence[TensorSpec], width: int) -> list[Row]:
    rows: list[Row] = []
    for index, spec in enumerate(tensors[:8]):
        right = _type_spans(spec, width)
        name = truncate_middle(safe_text(spec.name), max(width // 2, 8))
        rows.append(two_edges([say(f"{side if index == 0 else '':<5}", Role.MUTED), say(name)], right, width))
    if len(tensors) > 8:
        rows.append((say(f"     and {len(tensors) - 8:,} more", Role.MUTED),))
    return rows


def _type_spans(spec: TensorSpec, width: int) -> list[Span]:
    """Shape and dtype; for what is no tensor its whole type, cut to half the width."""
    if spec.kind != "tensor":
        return [say(truncate_middle(safe_text(spec.dtype, 200), max(width // 2, 8)))]
    shape = spec.shape if spec.shape is None or len(spec.shape) <= MAX_DIMS else spec.shape[:MAX_DIMS]
    more = "" if spec.shape is shape else f" × … {len(spec.shape or ()):,} dims"
    return [
        say(truncate_middle(safe_text(format_shape(shape, " × "), 400) + more, max(width // 2, 8))),
        say(f"  {short_dtype(safe_text(spec.dtype, 20)):>4}", Role.MUTED),
    ]


def _findings(subject: Subject, width: int, glyphs: Glyphs) -> list[Row]:
    warnings = subject.facts.warnings[:MAX_WARNINGS]
    if not warnings:
        return []
    rows: list[Row] = [
        BLANK,
        heading("Findings", width, [say(plural(len(subject.facts.warnings), "finding"), Role.MUTED)]),
    ]
    for warning in warnings:
        for index, row in enumerate(paragraph(warning, width - 2, Role.BODY)):
            rows.append((Span(f"{glyphs.warn} " if index == 0 else "  ", Role.WARN), *row))
    return rows


def io_rows(subject: Subject, example: Sequence[str] | None, width: int) -> list[Row]:
    """Inputs and outputs in full, what is kept about made-up inputs, and an example request."""
    rows: list[Row] = []
    for name, tensors in (("Inputs", subject.facts.inputs), ("Outputs", subject.facts.outputs)):
        rows += [heading(name, width, [say(plural(len(tensors), "tensor"), Role.MUTED)])]
        for spec in tensors[:MAX_TENSORS]:
            name_part = say(truncate_middle(safe_text(spec.name), max(width // 2, 8)) or "unnamed")
            rows.append(two_edges([name_part], _type_spans(spec, width), width))
        if len(tensors) > MAX_TENSORS:
            rows.append((say(f"and {len(tensors) - MAX_TENSORS:,} more", Role.MUTED),))
        rows.append(BLANK)
    rows += _feed_rows(subject, width)
    if example is not None:
        rows.append(heading("Example request", width, [say("JSON", Role.MUTED)]))
        rows += [(say(line[:width]),) for line in example]
    return rows


def _feed_rows(subject: Subject, width: int) -> list[Row]:
    """Free dims with the size they take, and the overrides that are kept."""
    dims = free_dims(subject.facts.inputs)
    kept = feed_words(subject.feed)
    if not dims and not kept:
        return []
    note = [say("f", Role.STRONG, bold=True), say(" changes them", Role.MUTED)] if subject.version is not None else []
    rows: list[Row] = [heading("Free dims" if dims else "Made-up inputs", width, note)]
    for dim in dims[:MAX_DIMS]:
        size = subject.feed.dims.get(dim)
        words, role = ("1 unless set", Role.MUTED) if size is None else (str(size), Role.BODY)
        rows.append(pair(dim, words, width, role=role))
    if kept:
        rows += labelled("kept", kept, width)
    return [*rows, BLANK]


def example_lines(schema: dict[str, Any]) -> tuple[str, ...]:
    """The example request of a schema as lines of JSON, long runs of numbers pulled together; at most 200 lines."""
    text = json.dumps(schema.get("example", {}), indent=2, ensure_ascii=False)
    return tuple(_compact(text)[:200])


def _compact(text: str) -> list[str]:
    """Lines of JSON with runs of single numbers and brackets pulled together, at most six items a run."""
    lines: list[str] = []
    skipped = 0
    run = 0
    for line in text.splitlines():
        bare = line.strip().rstrip(",")
        if bare and (bare[0].isdigit() or bare[0] == "-"):
            run += 1
            if run > 3:
                skipped += 1
                continue
        else:
            if skipped:
                lines.append(" " * (len(lines[-1]) - len(lines[-1].lstrip())) + f"… {skipped:,} more")
            run = skipped = 0
        lines.append(line)
    return lines


def metadata_rows(subject: Subject, width: int) -> list[Row]:
    """Who made the model, what it is called, which files it has."""
    facts, model, version = subject.facts, subject.model, subject.version
    rows: list[Row] = [heading("File", width)]
    rows += labelled("producer", facts.producer or MISSING, width)
    rows += labelled("graph", facts.graph_name or MISSING, width)
    rows += labelled("IR", str(facts.ir_version), width)
    opsets = list(facts.opsets.items())[:MAX_PAIRS]
    rows += labelled("opsets", ", ".join(f"{domain} {number}" for domain, number in opsets), width)
    weights = ", ".join(f"{short_dtype(dtype)} {format_count(count)}" for dtype, count in facts.weight_dtypes.items())
    rows += labelled("weights", weights or "none", width)
    if facts.functions:
        rows += labelled("functions", f"{facts.functions:,}", width)
    for key, value in list(facts.metadata.items())[:MAX_PAIRS]:
        rows += labelled(key, value, width)
    if facts.doc:
        rows += labelled("notes", facts.doc, width)
    if version:
        rows += _version_rows(version, width)
    if model:
        rows += _model_rows(model, width)
    return rows


def _version_rows(version: VersionRecord, width: int) -> list[Row]:
    rows: list[Row] = [BLANK, heading(f"Version {version.version}", width)]
    rows += labelled("state", version.state.value, width)
    for label, value in (("label", version.label), ("notes", version.notes), ("added", version.created_at)):
        if value:
            rows += labelled(label, value, width)
    rows += labelled("source", version.source or MISSING, width)
    rows += labelled("digest", version.artifact.digest, width)
    rows += labelled("runtime", version.trial.runtime or MISSING, width)
    if version.trial.tried_at:
        rows += labelled("tried", version.trial.tried_at, width)
    if version.trial.load_ms is not None:
        rows += labelled("first load", f"{significant(version.trial.load_ms)} ms", width)
    for file in version.artifact.files[:20]:
        rows.append(two_edges([say(file.path)], [say(format_bytes(file.size_bytes), Role.MUTED)], width))
    for key, value in version.metadata.items():
        rows += labelled(key, value, width)
    return rows


def _model_rows(model: ModelRecord, width: int) -> list[Row]:
    rows: list[Row] = [BLANK, heading("Model", width)]
    aliases = ", ".join(f"{alias} → @{number}" for alias, number in sorted(model.aliases.items()))
    fields = (
        ("task", model.task), ("author", model.author), ("framework", model.framework), ("license", model.license),
        ("tags", ", ".join(model.tags)), ("aliases", aliases), ("description", model.description),
        ("created", model.created_at), ("changed", model.updated_at),
    )  # fmt: skip
    for label, value in fields:
        if value:
            rows += labelled(label, value, width)
    for key, value in model.metadata.items():
        rows += labelled(key, value, width)
    return rows
