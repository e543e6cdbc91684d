from __future__ import annotations

import pytest
from textual.app import App
from textual.binding import Binding
from textual.widgets import Input

from quickserveml_tui.charts.cells import Role, Span
from quickserveml_tui.charts.series import LatencySeries
from quickserveml_tui.core.benchmarks import BenchmarkFrame, HistogramData, Phase
from quickserveml_tui.core.hosts import HostStatus
from quickserveml_tui.core.job_records import JobKind, JobRecord, JobRequest
from quickserveml_tui.core.jobs import JobState, Progress
from quickserveml_tui.core.text import cell_width
from quickserveml_tui.tui.themes import ThemeSupport
from quickserveml_tui.tui.widgets.empty import Choice, ChoiceList, EmptyState, wrap_words
from quickserveml_tui.tui.widgets.hero import Hero
from quickserveml_tui.tui.widgets.histogram import HistogramView
from quickserveml_tui.tui.widgets.ink import crop_row, row_width, say, two_edges
from quickserveml_tui.tui.widgets.key_footer import KeyFooter
from quickserveml_tui.tui.widgets.pane import FocusRule, Pane, PaneTitle
from quickserveml_tui.tui.widgets.progress_row import ProgressRow
from quickserveml_tui.tui.widgets.shelf import Fact, FactsGrid, Shelf
from quickserveml_tui.tui.widgets.status import HeaderBar, StatusLine
from quickserveml_tui.tui.widgets.tab_row import TabRow
from quickserveml_tui.tui.widgets.traces import StripChart, TraceChart

EVIL = [
    "x[/]y",
    "[@click=app.quit]go",
    "a\x1b[31mred\x1b]52;c;AAAA\x07",
    "abc\u202egnp.exe",
    "zero\u200bwidth",
    "日本語モデル",
]


class Kit(ThemeSupport, App):
    """An app around some widgets."""

    CSS = "Screen { background: $ground; layout: vertical; }"
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, *widgets, **options):
        super().__init__(**options)
        self.widgets = widgets

    def compose(self):
        yield from self.widgets

    @property
    def text(self) -> str:
        return "\n".join(strip.text for strip in self.screen._compositor.render_strips())


def make_pane(*children, **options) -> Pane:
    return Pane(*children, key="1", title="Catalog", noun="model", **options)


async def test_focus_is_said_three_times():
    first, second = make_pane(Input()), make_pane(Input(id="other"))
    app = Kit(first, second)
    async with app.run_test(size=(60, 20)) as pilot:
        second.query_one(Input).focus()
        await pilot.pause()
        assert "▁" * 60 in app.text
        assert first.query_one(FocusRule).rows(10) == ()
        assert second.query_one(PaneTitle).rows(60)[0][1].role is Role.ACCENT
        assert first.query_one(PaneTitle).rows(60)[0][1].role is Role.MUTED
        tones = [pane.query_one(".pane--surface").styles.background.hex for pane in (first, second)]
        assert tones == ["#1B1714", "#241F1A"]


async def test_a_pane_title_names_subject_and_count_with_its_noun():
    pane = make_pane()
    app = Kit(pane)
    async with app.run_test(size=(50, 6)) as pilot:
        pane.subject, pane.count = "resnet50@3", 1
        await pilot.pause()
        assert "1 Catalog" in app.text
        assert "resnet50@3   1 model" in app.text
        pane.count, pane.live = 1200, True
        await pilot.pause()
        assert "● live   resnet50@3   1,200 models" in app.text


async def test_a_maximised_pane_hides_the_others_and_gives_them_back():
    first, second = make_pane(), make_pane()
    app = Kit(first, second)
    async with app.run_test(size=(60, 20)) as pilot:
        first.toggle_maximised()
        await pilot.pause()
        assert not second.display
        assert first.size.height == 20
        first.toggle_maximised()
        await pilot.pause()
        assert second.display


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize("ascii_only", [False, True])
async def test_outside_strings_neither_crash_nor_reach_the_terminal(evil, ascii_only):
    table_of_rows = ProgressRow(evil, evil)
    shelf, status, header, empty = (
        Shelf(),
        StatusLine(),
        HeaderBar(evil, [(evil, evil)], current=evil),
        EmptyState(evil, [(evil, evil)]),
    )
    choices = ChoiceList([Choice("d", evil, evil)], heading=evil, subheading=evil)
    strip = StripChart(evil, evil)
    pane = Pane(
        table_of_rows, TabRow([("a", evil)]), Hero(evil, evil, evil), strip, choices, empty, shelf, key="1", title=evil
    )
    app = Kit(header, pane, status, ascii_only=ascii_only)
    async with app.run_test(size=(70, 60)) as pilot:
        table_of_rows.show(state="running", fraction=0.4, right=evil, note=evil, keys=[(evil, evil)])
        shelf.show(title=evil, right=evil, subtitle=evil, facts=[Fact(evil, evil, evil)] * 3)
        status.breadcrumb = (evil, evil)
        status.tell(evil, Role.ERROR)
        pane.subject, pane.count_text = evil, evil
        await pilot.pause()
        shown = app.text
        assert not [sign for sign in shown if sign in "\x1b\x07\u202e\u200b"]
        assert "x[/]y" in shown or evil != "x[/]y"


@pytest.mark.parametrize("size", [(20, 5), (40, 10), (80, 24), (160, 45)])
async def test_the_kit_draws_at_any_size(size):
    trace = TraceChart()
    pane = make_pane(Hero("21.8", "ms", "p50"), trace, EmptyState("Nothing here", [("b", "fills it")]), Shelf())
    app = Kit(HeaderBar(screens=[("a", "Alpha"), ("b", "Beta")], current="b"), pane, StatusLine(), KeyFooter())
    async with app.run_test(size=size) as pilot:
        trace.show_series(LatencySeries.of([0, 1, 2], [1, 2, 3]))
        await pilot.pause()
        assert all(cell_width(line) == size[0] for line in app.text.splitlines())


async def test_a_shelf_hangs_on_both_edges_in_two_columns():
    shelf = Shelf()
    app = Kit(shelf)
    async with app.run_test(size=(40, 12)) as pilot:
        shelf.show(
            title="resnet50@3",
            right=[Span("✓ validated", Role.OK)],
            facts=[Fact("params", "25.61", "M"), Fact("dtype", "f32"), Fact("MACs", "4.09", "G"), Fact("opset", "17")],
        )
        await pilot.pause()
        lines = [line.strip() for line in app.text.splitlines() if line.strip()]
        assert lines[0].startswith("resnet50@3")
        assert lines[0].endswith("✓ validated")
        assert lines[1].split() == ["params", "25.61", "M", "MACs", "4.09", "G"]
        assert lines[2].split() == ["dtype", "f32", "opset", "17"]
        assert len(lines[1]) == len(lines[2]) == 36


async def test_facts_use_one_column_where_it_is_narrow():
    grid = FactsGrid([Fact("a long label", "1,234", "ms"), Fact("another label", "5", "ms")])
    app = Kit(grid)
    async with app.run_test(size=(30, 8)):
        assert grid.size.height == 2


async def test_tabs_change_by_click_and_by_step_and_say_so():
    row = TabRow([("one", "One"), ("two", "Two")])
    seen = []

    class Listening(Kit):
        def on_tab_row_changed(self, event):
            seen.append(event.tab)

    app = Listening(row)
    async with app.run_test(size=(40, 5)) as pilot:
        await pilot.click(TabRow, offset=(7, 0))
        await pilot.pause()
        row.next_tab()
        await pilot.pause()
        assert seen == ["two", "one"]
        assert "▔▔▔" in app.text


async def test_the_footer_shows_the_keys_of_what_has_the_focus():
    class Keyed(Kit):
        BINDINGS = [  # noqa: RUF012
            Binding("b", "bell", "benchmark"),
            Binding("d", "blocked", "delete"),
            Binding("h", "bell", "hidden", show=False),
        ]

        def check_action(self, action, parameters):
            return None if action == "blocked" else True

        def action_blocked(self):
            raise AssertionError

    app = Keyed(make_pane(ChoiceList([Choice("a", "Add", "words")])), KeyFooter())
    async with app.run_test(size=(80, 10)) as pilot:
        await pilot.pause()
        line = app.text.splitlines()[-1]
        assert "b benchmark" in line
        assert "hidden" not in line
        assert line.rstrip().endswith("? more")
        (row,) = app.query_one(KeyFooter).rows(76)
        bold = {span.text for span in row if span.bold}
        assert "b" in bold
        assert "d" not in bold
        assert "d" in {span.text for span in row}


async def test_a_choice_runs_its_action_by_enter():
    class Choosing(Kit):
        chosen = ""

        def action_pick(self, name):
            self.chosen = name

    choices = ChoiceList(
        [Choice("d", "Demo", "words", "app.pick('demo')"), Choice("a", "Add", "words", "app.pick('add')")]
    )
    app = Choosing(choices)
    async with app.run_test(size=(60, 20)) as pilot:
        choices.focus()
        await pilot.press("j", "enter")
        await pilot.pause()
        assert app.chosen == "add"


def make_job(state=JobState.RUNNING, **changes) -> JobRecord:
    progress = Progress("run", done=31_204, total=50_000, unit="rows", eta_s=12, failed=3, **changes)
    request = JobRequest(JobKind.BATCH, "resnet@1", data="/data/imagenet-val")
    return JobRecord("batch-1", request, "imagenet-val", state, progress, "2024-05-01T10:00:00.000Z")


async def test_a_running_job_shows_its_bar_its_count_and_how_to_cancel():
    row = ProgressRow()
    app = Kit(row)
    async with app.run_test(size=(60, 6)) as pilot:
        row.show_job(make_job(), keys=[("x", "cancel")])
        await pilot.pause()
        head, bar, note = app.text.splitlines()[:3]
        assert head.split() == ["●", "batch", "imagenet-val", "0:12", "left"]
        assert "━" in bar
        assert bar.rstrip().endswith("62 %")
        assert "31,204 of 50,000 rows, 3 set apart" in note
        assert note.rstrip().endswith("x cancel")


async def test_a_header_keeps_the_current_screen_and_the_noise_badge_where_it_is_narrow():
    header = HeaderBar(
        screens=[(name.lower(), name) for name in ("Overview", "Lab", "Compare", "History")], current="history"
    )
    app = Kit(header)
    async with app.run_test(size=(60, 3)) as pilot:
        header.show_host(HostStatus("host", 4, 3.9, 1, 1))
        await pilot.pause()
        line = app.text.splitlines()[0]
        assert "History" in line
        assert "! noisy" in line


async def test_the_status_line_ends_with_the_newest_message_and_its_time():
    status = StatusLine()
    app = Kit(status)
    async with app.run_test(size=(70, 3)) as pilot:
        status.breadcrumb = ("resnet50", "@3")
        status.tell("Batch held until the benchmark ends", Role.WARN, at="10:31")
        await pilot.pause()
        line = app.text.splitlines()[0]
        assert line.startswith("  resnet50 › @3")
        assert line.rstrip().endswith("! Batch held until the benchmark ends   10:31")


async def test_a_trace_takes_frames_without_a_timer_when_idle():
    trace = TraceChart()
    app = Kit(trace)
    async with app.run_test(size=(60, 14)) as pilot:
        trace.begin(total_s=10)
        await pilot.pause()
        assert "10 s" in app.text
        trace.update_frame(BenchmarkFrame(Phase.WARMUP, 1.0, (0.0, 0.5), (9.0, 5.0), 2))
        for step in range(50):
            start = 1.0 + step * 0.1
            trace.update_frame(
                BenchmarkFrame(Phase.MEASURING, start + 0.1, (start, start + 0.05), (4.0, 4.4), step * 2)
            )
        trace.finish()
        await pilot.pause()
        assert trace.series.warmup_until_s == 1.0
        assert trace.series.count == 102
        assert "warm-up" in app.text
        assert trace._waiting is None
        titles, rows = trace.as_table()
        assert titles[0] == "time s"
        assert {row[3] for row in rows} == {"warm-up", "measured"}


async def test_many_changes_become_few_repaints():
    strip = StripChart("throughput", "/s")
    painted = []
    app = Kit(strip)
    async with app.run_test(size=(60, 3)) as pilot:
        strip.paint_hz = 0.5
        await pilot.pause()
        strip.refresh = lambda *args, **kwargs: painted.append(1)  # type: ignore[method-assign]
        for step in range(500):
            strip.add(step * 0.01, float(step))
        assert len(painted) <= 1
        assert strip.newest == 499.0


def test_a_strip_chart_keeps_a_bounded_number_of_points():
    strip = StripChart("memory", "MB")
    for step in range(20_000):
        strip.add(step, 1.0)
    assert len(strip._values) <= 4096
    assert len(strip._times) == len(strip._values)


async def test_the_histogram_is_drawn_by_a_worker():
    view = HistogramView()
    app = Kit(view)
    async with app.run_test(size=(50, 12)) as pilot:
        view.show(HistogramData((1.0, 2.0, 3.0, 4.0), (5, 9, 1)), {"p50": 2.2})
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert "runs" in app.text
        assert "p50" in app.text
        assert view.as_table()[1][1] == ("2.00", "3.00", "9")
        view.show(None)
        await pilot.pause()
        assert "No latencies yet." in app.text


async def test_without_colour_underline_and_inverse_say_what_is_current(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    pane = make_pane(Input())
    app = Kit(HeaderBar(screens=[("a", "Alpha")], current="a"), TabRow([("one", "One")]), pane, make_pane())
    async with app.run_test(size=(60, 20)) as pilot:
        pane.query_one(Input).focus()
        await pilot.pause()
        styles = {
            word: segment.style
            for strip in app.screen._compositor.render_strips()
            for segment in strip
            for word in segment.text.split()
            if segment.style
        }
        assert styles["Alpha"].underline
        assert styles["One"].underline
        titles = [title.styles.text_style for title in app.query(PaneTitle)]
        assert titles[0].reverse
        assert titles[1].underline


def test_two_edges_keep_both_ends_and_cut_the_left_one_in_its_middle():
    row = two_edges([say("a-very-long-layer-name.conv2")], [say("0.71 ms")], 24)
    text = "".join(span.text for span in row)
    assert text.startswith("a-very")
    assert "…" in text
    assert text.endswith("0.71 ms")
    assert row_width(row) == 24


def test_a_row_of_wide_letters_is_cut_by_cells():
    assert row_width(crop_row((say("日本語モデル"),), 7)) <= 7
    assert all(cell_width(line) <= 8 for line in wrap_words("日本語 モデル abc", 8))
