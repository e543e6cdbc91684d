"""Figures beside the charts: the table, the files, and what happened."""

from __future__ import annotations

from dataclasses import replace

import pytest
from doubles_serving import make_snapshot

from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.monitor_rates import rates
from quickserveml_tui.tui.flows.monitor_figures import write_new
from quickserveml_tui.tui.monitor.events import events_between
from quickserveml_tui.tui.monitor.figures import as_csv, table_rows
from quickserveml_tui.tui.monitor.history import History
from quickserveml_tui.tui.monitor.view import View
from quickserveml_tui.tui.panes.monitor_charts import GAUGES


def seen(*names: str) -> History:
    history = History()
    before, after = make_snapshot(1, names=names), make_snapshot(2, names=names)
    history.add(before, None)
    history.add(after, rates(before, after))
    return history


@pytest.mark.parametrize("name", ["=1+1", "+x", "-x", "@x"])
def test_no_name_is_a_formula_in_the_csv_file(name: str) -> None:
    lines = as_csv(seen(name, "iris")).splitlines()
    assert any(f",'{name},1," in line for line in lines)
    assert len(lines) == 4, "a head, all models together, and each version"


def test_the_table_shows_the_window_newest_first() -> None:
    view = View()
    view.history = seen("digits", "iris")
    text = ["".join(span.text for span in row) for row in table_rows(view, 80)]
    assert "req/s" in text[0]
    assert len(text) == 2
    assert "301" in text[1], "200 and 100 answered, one refused"


def test_a_file_that_is_there_is_never_overwritten(tmp_path) -> None:
    path = tmp_path / "a.csv"
    write_new(path, "first")
    with pytest.raises(StoreError):
        write_new(path, "second")
    assert path.read_text() == "first"


def test_strips_are_of_the_version_that_the_charts_are_about() -> None:
    view = View()
    view.history = seen("digits", "iris")
    pending = next(gauge for gauge in GAUGES if gauge.label == "pending")
    point = view.history.newest
    assert pending.picker(view)(point) == 1
    view.model = ("digits", "1")
    assert pending.picker(view)(point) == 0


def test_restarts_and_models_that_come_and_go_are_events() -> None:
    before, after = make_snapshot(1), make_snapshot(2, names=("digits", "new"))
    first, second = after.workers
    after = replace(after, workers=(replace(first, restarts=1, pid=5001), second))
    said = [f"{event.what} {event.words}" for event in events_between(before, after)]
    assert said == [
        "worker 0 ended and was started again (process 5001)",
        "new @2 is served",
        "iris @2 is no longer served",
    ]
    anew = replace(make_snapshot(3), uptime_s=1.0)
    assert [event.words for event in events_between(after, anew)] == ["was started anew"]
    assert not list(events_between(before, make_snapshot(2)))
