"""Golden outputs and checks of them as text and documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quickserveml_tui.core.tensors import format_shape
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.core.units import significant
from quickserveml_tui.reports.tables import Column, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from quickserveml_tui.cli.output import Output
    from quickserveml_tui.core.errors import QuickServeError
    from quickserveml_tui.core.golden import GoldenCheck, GoldenContent, GoldenReport, ValueDifference
    from quickserveml_tui.core.models import GoldenOutput
    from quickserveml_tui.core.values import Value

_NO_GOLDEN = "There are no golden outputs, so there is nothing to verify."


def _difference(value: float | None) -> str:
    return "–" if value is None else "0" if value == 0 else f"{value:.2e}"


_MAX_LINES = 8
_LIST_COLUMNS = (
    Column("name", "Name"),
    Column("rtol", "rtol", align="right", show=lambda value: f"{value:g}"),
    Column("atol", "atol", align="right", show=lambda value: f"{value:g}"),
    Column("source", "Inputs"),
    Column("runtime", "Runtime"),
    Column("created_at", "Recorded"),
    Column("notes", "Notes"),
)
_CHECK_COLUMNS = (
    Column("name", "Name"),
    Column("ok", "Result"),
    Column("output", "Worst output"),
    Column("max_abs", "max abs", align="right", show=_difference),
    Column("max_rel", "max rel", align="right", show=_difference),
    Column("run_ms", "Time", "ms", align="decimal", show=significant),
)
_VALUE_COLUMNS = (
    Column("role", ""),
    Column("name", "Name"),
    Column("dtype", "Type"),
    Column("shape", "Shape"),
    Column("range", "Range"),
)


def golden_document(golden: GoldenOutput) -> dict[str, Any]:
    """One golden output, without its values."""
    from quickserveml_tui.cli.documents import plain

    document: dict[str, Any] = plain(golden)
    return document | {key: safe_text(document[key], 10_000) for key in ("source", "runtime")}


def content_document(content: GoldenContent) -> dict[str, Any]:
    """One golden output with what its values are."""
    sides = (("inputs", content.inputs), ("outputs", content.outputs))
    values = {
        side: {safe_text(name, 1000): _described(value) for name, value in found.items()} for side, found in sides
    }
    return golden_document(content.golden) | values


def reports_document(
    reports: Sequence[GoldenReport], failures: Sequence[tuple[str, QuickServeError]]
) -> dict[str, Any]:
    """What `verify` found; `ok` also when there was nothing to verify."""
    from quickserveml_tui.cli.documents import error_entry, plain

    return {
        "ok": all(report.ok for report in reports) and not failures,
        "checked": sum(len(report.checks) for report in reports),
        "failed": sum(len(report.failed) for report in reports),
        "reports": [{"ref": report.ref, "ok": report.ok, **plain(report)} for report in reports],
        "errors": [{"ref": safe_text(ref), **error_entry(error)} for ref, error in failures],
    }


def print_golden_list(output: Output, ref: str, found: Sequence[GoldenOutput]) -> None:
    """Print the golden outputs of a version."""
    from quickserveml_tui.cli.tables import print_table

    if not found:
        output.line(f"{safe_text(ref)} has no golden outputs: quickserveml golden record {safe_text(ref)}")
        return
    keys = [column.key for column in _LIST_COLUMNS]
    print_table(output, table(_LIST_COLUMNS, [[getattr(item, key) for key in keys] for item in found]))


def print_content(output: Output, ref: str, content: GoldenContent) -> None:
    """Print how it is compared and what its inputs and outputs are."""
    from quickserveml_tui.cli.tables import print_table

    golden = content.golden
    output.heading(f"{golden.name} of {safe_text(ref)}")
    output.pairs(
        [
            ("Tolerance", f"{golden.rtol:g} relative, {golden.atol:g} absolute"),
            ("Inputs from", golden.source),
            ("Runtime", golden.runtime),
            ("Recorded", golden.created_at),
            ("Notes", golden.notes),
        ]
    )
    output.line()
    sides = (("input", content.inputs), ("output", content.outputs))
    print_table(output, table(_VALUE_COLUMNS, [row for role, values in sides for row in _value_rows(role, values)]))


def content_lines(content: GoldenContent) -> Iterator[str]:
    """What goes in and what must come out, each in a line: `input  x  float32  1×4`."""
    for role, values in (("input", content.inputs), ("output", content.outputs)):
        for _role, name, dtype, shape, _range in _value_rows(role, values)[:_MAX_LINES]:
            yield f"{role}  {safe_text(name, 80)}  {dtype}  {shape}"
        if len(values) > _MAX_LINES:
            yield f"and {len(values) - _MAX_LINES:,} more {role}s"


def print_reports(
    output: Output, reports: Sequence[GoldenReport], failures: Sequence[tuple[str, QuickServeError]]
) -> None:
    """Print a table for each version, the reasons of what failed, and a line on the whole."""
    for report in reports:
        _print_report(output, report)
    for ref, error in failures:
        output.line(f"{output.style('✕', 'error')} {safe_text(ref)}: {safe_text(error.message, 1000)}")
        if error.hint:
            output.line(output.style(f"  {safe_text(error.hint, 1000)}", "muted"))
    checked = sum(len(report.checks) for report in reports)
    failed = sum(len(report.failed) for report in reports)
    if not reports and not failures:
        output.line(_NO_GOLDEN)
    elif checked and len(reports) > 1:
        output.line(f"{plural(checked, 'golden output')} of {plural(len(reports), 'version')}, {failed:,} failed.")


def _print_report(output: Output, report: GoldenReport) -> None:
    from quickserveml_tui.cli.tables import print_table

    if not report.checks:
        output.line(f"{report.ref} has no golden outputs, so there is nothing to verify.")
        return
    output.heading(f"{report.ref}  {report.count} ok")
    print_table(output, table(_CHECK_COLUMNS, [_check_row(check) for check in report.checks]))
    output.line()
    for check in report.failed:
        output.line(f"{output.style('✕', 'error')} {safe_text(check.name)}: {safe_text(check.reason, 1000)}")
    if report.failed:
        output.line()


def _check_row(check: GoldenCheck) -> tuple[Any, ...]:
    worst = _worst(check.differences)
    verdict = "ok" if check.ok else "differs" if check.code == "golden.differs" else "failed"
    if worst is None:
        return check.name, verdict, "", None, None, check.run_ms
    return check.name, verdict, worst.output, worst.max_abs, worst.max_rel, check.run_ms


def _worst(differences: Sequence[ValueDifference]) -> ValueDifference | None:
    """The output that is farthest off: one that failed first, then by its largest difference."""
    return max(differences, key=lambda item: (not item.ok, item.max_rel or 0.0, item.max_abs or 0.0), default=None)


def _value_rows(role: str, values: Mapping[str, Value]) -> list[tuple[str, str, str, str, str]]:
    rows = []
    for name, value in values.items():
        known = _described(value)
        shape = format_shape(known["shape"]) if known["shape"] is not None else f"{known['count']:,}"
        rows.append((role, name, known["dtype"], shape, known["range"]))
    return rows


def _described(value: Value) -> dict[str, Any]:
    """dtype, shape and range of a value; sequences and maps have a count instead of a shape."""
    import numpy as np

    from quickserveml_tui.cli.arrays import as_standard
    from quickserveml_tui.core.values import SparseValue

    if isinstance(value, SparseValue):
        inner = _described(value.values)
        return inner | {"dtype": f"sparse {inner['dtype']}", "shape": list(value.shape), "count": len(value.values)}
    if value is None or isinstance(value, list | tuple | dict):
        kind = "no value" if value is None else "map" if isinstance(value, dict) else "sequence"
        return {"dtype": kind, "shape": None, "count": len(value or ()), "range": ""}
    array = np.asarray(value)
    text = ""
    if array.size and array.dtype.kind not in "OSUc":
        numbers = as_standard(array)
        finite = numbers[np.isfinite(numbers)] if numbers.dtype.kind == "f" else numbers
        text = f"{finite.min():g} to {finite.max():g}" if finite.size else "nothing finite"
    dtype = "string" if array.dtype.kind in "OSU" else array.dtype.name
    return {"dtype": dtype, "shape": list(array.shape), "count": int(array.size), "range": text}
