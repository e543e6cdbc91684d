"""The monitor over a double: rates, gaps, pauses, a server that goes and comes back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from doubles import sample_world
from doubles_serving import gone, make_server, make_snapshot
from driving import stage

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.monitor_rates import rates
from quickserveml_tui.core.monitoring import MonitorSource
from quickserveml_tui.tui.memory import UiMemory
from quickserveml_tui.tui.monitor import watcher
from quickserveml_tui.tui.monitor.charts import readout
from quickserveml_tui.tui.monitor.history import MAX_POINTS, History
from quickserveml_tui.tui.monitor.view import View
from quickserveml_tui.tui.screens.monitor import address_of


def world_with_server():
    world = sample_world()
    world.servers.running = [make_server(1)]
    return world


async def watching(on, *seconds: int):
    await on.press("M")
    await on.until(lambda: on.app.front is not on.bench and on.app.front.is_mounted, "the screen")
    screen = on.app.front
    await on.until(lambda: on.world.monitor.watching, "the watch")
    on.world.monitor.tell(*(make_snapshot(second) for second in seconds))
    if seconds:
        await on.until(
            lambda: screen.view.snapshot and screen.view.snapshot.taken_at == 1_700_000_000.0 + seconds[-1], "them"
        )
    return screen


async def test_without_a_server_the_screen_says_which_key_opens_one() -> None:
    async with stage(sample_world()) as on:
        await on.press("M")
        await on.shows("o opens one by its address", "N goes to the servers of this home")
        await on.press("p")
        await on.shows("No server is watched; o opens one.")


async def test_rates_percentiles_models_load_slow_requests_and_workers_are_shown() -> None:
    async with stage(world_with_server(), (120, 40)) as on:
        await watching(on, *range(1, 30))
        await on.shows("requests/s", "p50 2.86 ms", "p99 20.0 ms")
        await on.shows("iris @2", "digits @1", "requests per cell", "connections", "310", "4001")
        await on.shows("quickserveml 1.0", "127.0.0.1:8000", "asked every 1 s, last 1 min")


async def test_enter_narrows_the_charts_to_a_model_and_esc_gives_all_back() -> None:
    async with stage(world_with_server(), (120, 40)) as on:
        screen = await watching(on, *range(1, 10))
        await on.press("3")
        screen.query_one("#monitor-models").table.move_to_key(("digits", "1"))
        await on.press("enter")
        await on.shows("Monitor › 127.0.0.1:8000 › digits@1", "p50 0.654 ms")
        await on.press("s")
        await on.shows("by p50 ms")
        await on.press("escape")
        await on.shows("p50 2.86 ms")


async def test_the_heat_says_so_where_there_was_no_request() -> None:
    async with stage(world_with_server(), (120, 40)) as on:
        screen = await watching(on, 1)
        on.world.monitor.tell(replace(make_snapshot(1), taken_at=make_snapshot(2).taken_at))
        await on.until(lambda: screen.view.history.points, "an interval")
        await on.shows("no request in the last 1 min")


async def test_only_the_table_that_has_the_focus_has_a_cursor_and_the_slowest_stays_in_sight() -> None:
    async with stage(world_with_server(), (120, 40)) as on:
        screen = await watching(on, *range(1, 10))
        table = screen.query_one("#monitor-slow").table
        await on.until(lambda: table.row_count, "slow requests")
        assert "▌" not in on.text(), "the focus is on a chart"
        worst = replace(make_snapshot(10).slow[0], request_id="worst", elapsed_s=60.0)
        on.world.monitor.tell(replace(make_snapshot(10), slow=(worst, *make_snapshot(10).slow)))
        await on.until(lambda: table.cursor_key == "worst", "the slowest one under the cursor at the top")
        await on.press("5")
        await on.until(lambda: on.text().count("▌") == 1, "the cursor of the focused table")


def test_the_read_out_leaves_figures_out_rather_than_cut_them() -> None:
    view = View()
    for second in (1, 2):
        before = view.snapshot
        now = make_snapshot(second)
        view.history.add(now, rates(before, now) if before is not None else None)
    view.move_cursor(-1, 60)
    for width in range(30, 120):
        text = "".join(span.text for span in readout(view, 60, width))
        assert len(text) <= width
        assert "…" not in text
        if width >= 60:
            assert " /s" in text
            assert text.count(" ms") >= 2


async def test_the_cursor_reads_one_moment_out() -> None:
    async with stage(world_with_server(), (120, 40)) as on:
        await watching(on, *range(1, 40))
        await on.press("2", "h", "h")
        await on.shows("cursor", "▲", "301 /s")
        await on.press("v")
        await on.shows("Percentiles", "p95")
        await on.press("escape")
        await on.shows("h l move a cursor")


async def test_a_server_that_goes_is_said_to_be_gone_and_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(
        watcher.watch_server, "__kwdefaults__", {**watcher.watch_server.__kwdefaults__, "first_wait_s": 0.01}
    )
    async with stage(world_with_server(), (120, 40)) as on:
        screen = await watching(on, 1, 2, 3)
        on.world.monitor.tell(gone(), gone(), gone())
        await on.shows("No answer since", "The server does not answer.")
        assert screen.view.history.points, "what was seen stays"
        # It began anew: its counters are smaller than before.
        on.world.monitor.tell(make_snapshot(100), *(replace(make_snapshot(1), taken_at=1_700_000_101.0, uptime_s=1.0),))
        await on.until(lambda: screen.failure is None and screen.view.snapshot.uptime_s == 1.0, "the server")
        assert all(point.rates.total.requests_per_s >= 0 for point in screen.view.history.points)
        assert len(on.world.monitor.watched) == 4


async def test_a_server_that_never_answered_says_why() -> None:
    async with stage(world_with_server(), (120, 40)) as on:
        await watching(on)
        on.world.monitor.tell(gone())
        await on.shows("The server does not answer. Check that it", "runs. It is asked again", "o opens another one")


async def test_pause_interval_and_window_are_keys() -> None:
    async with stage(world_with_server(), (120, 40)) as on:
        screen = await watching(on, 1, 2)
        await on.press("p")
        await on.shows("Paused; p goes on")
        await on.until(lambda: on.world.monitor.watching == 0, "the end of the watch")
        await on.press("p", "plus", "w")
        await on.until(lambda: on.world.monitor.watching == 1, "another watch")
        assert on.world.monitor.watched[-1] == ("http://127.0.0.1:8000", "", 2.0)
        assert screen.view.window_s == 300
        await on.shows("asked every 2 s, last 5 min")


async def test_hidden_it_asks_nothing_and_a_dialog_does_not_stop_it() -> None:
    async with stage(world_with_server(), (120, 40)) as on:
        await watching(on, 1, 2)
        await on.press("o")
        await on.until(lambda: on.app.screen is not on.app.front, "the form")
        await on.pilot.pause()
        assert on.world.monitor.watching == 1
        await on.press("escape", "f2")
        await on.until(lambda: on.world.monitor.watching == 0, "the end of the watch")
        await on.press("f4")
        await on.until(lambda: on.world.monitor.watching == 1, "another watch")


async def test_another_server_is_opened_with_a_key_that_is_never_shown_or_kept(tmp_path: Path) -> None:
    async with stage(world_with_server(), home=str(tmp_path)) as on:
        await watching(on, 1, 2)
        await on.press("o")
        await on.until(lambda: on.app.screen.query("#field-url"), "the form")
        await on.write("example.org:9000")
        await on.press("tab", *"qsml_secret")
        assert "qsml_secret" not in on.text()
        await on.press("enter")
        await on.until(
            lambda: on.world.monitor.watched[-1][:2] == ("http://example.org:9000", "qsml_secret"), "the watch"
        )
        on.app.memory.save(tmp_path)
        assert UiMemory.load(tmp_path).server_urls == ["http://example.org:9000", "http://127.0.0.1:8000"]
        assert "qsml_secret" not in (tmp_path / "ui.json").read_text()


async def test_other_servers_show_what_they_have_and_what_they_do_not_tell() -> None:
    async with stage(world_with_server(), (120, 40)) as on:
        await watching(on)
        bare = [
            replace(make_snapshot(second), source=MonitorSource.TRITON, workers=(), slow=(), cpu_percent=None)
            for second in (1, 2, 3)
        ]
        on.world.monitor.tell(*bare)
        await on.shows("This server does not tell of its processes", "not told: connections", "triton; asked every")


async def test_hostile_names_are_shown_as_text() -> None:
    async with stage(world_with_server(), (120, 40)) as on:
        await watching(on)
        names = ("x[/]y", "[@click=app.quit]\x1b[31mz[/]")
        on.world.monitor.tell(*(make_snapshot(second, names=names) for second in (1, 2, 3)))
        await on.shows("x[/]y")
        assert "\x1b" not in on.text()


async def test_every_pane_is_drawn_with_ascii_where_one_fits() -> None:
    async with stage(world_with_server(), (80, 24), ascii=True) as on:
        await watching(on, *range(1, 20))
        for key, word in (
            ("2", "p99"),
            ("3", "iris"),
            ("4", "memory"),
            ("5", "310"),
            ("6", "4002"),
            ("1", "requests/s"),
        ):
            await on.press(key)
            await on.shows(word)
            assert not {char for char in on.text() if ord(char) > 126 and char != "\n"}


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("8000", "http://127.0.0.1:8000"),
        ("host:1/", "http://host:1"),
        ("https://h/base/", "https://h/base"),
        ("[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_addresses_are_read_as_people_write_them(text: str, url: str) -> None:
    assert address_of(text) == url


@pytest.mark.parametrize("text", ["", "ftp://h", "http://user:pw@h", "http://h?q=1", "a b", "http://"])
def test_what_is_no_address_or_holds_a_password_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        address_of(text)


def test_the_history_is_bounded_and_leaves_gaps_empty() -> None:
    history = History()
    before = make_snapshot(0)
    for second in range(1, MAX_POINTS + 50):
        after = make_snapshot(second)
        history.add(after, rates(before, after))
        before = after
    assert len(history.points) == MAX_POINTS
    assert all(value is not None for value in history.columns(lambda point: 1.0, 60, 97))
    later = make_snapshot(MAX_POINTS + 80)
    history.add(later, None)
    after = replace(make_snapshot(MAX_POINTS + 81), models=())
    history.add(after, rates(later, after))
    seen = history.columns(lambda point: point.rates.total.requests_per_s, 60, 60)
    assert seen.count(None) == 31
    counts, bounds = history.heat(None, 60, 60)
    assert counts.count(None) == 31
    assert len(counts[0]) == len(bounds) + 1
