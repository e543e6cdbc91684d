"""Tables as CSV, JSON and Markdown."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from typing import Any

from quickserveml_tui.core.text import safe_text
from quickserveml_tui.reports.tables import Table

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


def guard_formula(text: str) -> str:
    """`text` so that no spreadsheet takes it for a formula: a leading apostrophe where it begins like one.

    After https://owasp.org/www-community/attacks/CSV_Injection.
    """
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA_STARTS) else text


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):  # a number is no formula, also a negative one
        return repr(value) if math.isfinite(value) else ""
    if isinstance(value, list | tuple):
        return guard_formula(" ".join(safe_text(item) for item in value))
    return guard_formula(safe_text(value))


def to_csv(table: Table) -> str:
    """RFC 4180 text with a header row of column keys and raw values; missing and non-finite values are empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow([column.key for column in table.columns])
    writer.writerows([[_csv_cell(value) for value in row] for row in table.rows])
    return buffer.getvalue()


def _json_value(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, tuple | list):
        return [_json_value(item) for item in value]
    return value


def to_json(table: Table) -> str:
    """A JSON array with one object a row, by column key."""
    rows = [{key: _json_value(value) for key, value in row.items()} for row in table.to_docs()]
    return json.dumps(rows, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _markdown_cell(text: str) -> str:
    for char in "\\`*_[]<>|":
        text = text.replace(char, f"\\{char}")
    return text


def to_markdown(table: Table) -> str:
    """A GitHub table; names cannot bring markup in."""
    headers = [f"{column.header} ({column.unit})" if column.unit else column.header for column in table.columns]
    rules = ["---" if column.align == "left" else "--:" for column in table.columns]
    rows = [headers, rules, *[[_markdown_cell(cell) for cell in row] for row in table.shown()]]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


RENDERERS: dict[str, Callable[[Table], str]] = {"csv": to_csv, "json": to_json, "markdown": to_markdown}
"""Report formats by name."""
