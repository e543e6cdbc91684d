"""Reports: raw values for machines, no formulas, no markup, no control characters."""

from __future__ import annotations

import csv
import io
import json

import pytest

from quickserveml_tui.core.facts import LayerRow
from quickserveml_tui.reports.models import layers_table
from quickserveml_tui.reports.render import guard_formula, to_csv, to_json, to_markdown
from quickserveml_tui.reports.tables import Column, as_text, table

COLUMNS = (Column("name", "Name"), Column("p50_ms", "p50", "ms", align="decimal"), Column("tags", "Tags"))


@pytest.mark.parametrize("text", ["=cmd|'/c calc'!A1", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "  =1", "＝1"])
def test_no_spreadsheet_takes_a_name_for_a_formula(text: str) -> None:
    cell = next(csv.reader(io.StringIO(to_csv(table(COLUMNS[:1], [(text,)])).splitlines()[1])))[0]
    assert cell.startswith("'") or cell.lstrip()[0] not in "=+-@＝"
    assert guard_formula("resnet50") == "resnet50"


def test_numbers_stay_numbers_also_negative_ones() -> None:
    text = to_csv(table(COLUMNS, [("a", -1.5, ()), ("b", None, ("x", "y")), ("c", float("nan"), ())]))
    rows = list(csv.reader(io.StringIO(text)))
    assert rows == [["name", "p50_ms", "tags"], ["a", "-1.5", ""], ["b", "", "x y"], ["c", "", ""]]


def test_csv_keeps_commas_quotes_and_drops_control_characters() -> None:
    rows = list(csv.reader(io.StringIO(to_csv(table(COLUMNS[:1], [('a,"b"\x1b[31m\r\n',)])))))
    assert rows[1] == ['a,"b"[31m  ']


def test_json_is_valid_whatever_the_numbers() -> None:
    document = json.loads(to_json(table(COLUMNS, [("a", float("inf"), ("x",))])))
    assert document == [{"name": "a", "p50_ms": None, "tags": ["x"]}]


def test_markdown_takes_no_markup_from_a_name() -> None:
    lines = to_markdown(table(COLUMNS, [("a|b<script>[x](y)`", 1.5, ())])).splitlines()
    assert lines[0] == "| Name | p50 (ms) | Tags |"
    assert lines[1] == "| --- | --: | --- |"
    assert lines[2].count(" | ") == 2
    assert "<script>" not in lines[2].replace("\\<", "")


def test_values_are_shown_as_people_read_them() -> None:
    assert [as_text(value) for value in (None, "", True, 1234, -5, ("a", "b"))] == [
        "–",
        "–",
        "yes",
        "1,234",
        "−5",
        "a, b",
    ]


def test_layers_name_foreign_operators_with_their_domain() -> None:
    row = LayerRow(0, "n", "Gelu", "com.microsoft", 0, (), (), (1, "N", None), "float32", 0, None, None)
    cells = layers_table([row]).shown()[0]
    assert cells[2] == "com.microsoft:Gelu"
    assert cells[4] == "1×N×?"
