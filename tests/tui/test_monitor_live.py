"""The monitor over a real server by its keys: every one of them, and a server that is started anew beneath it."""

from __future__ import annotations

import contextlib
import csv
import http.client
import json
import sys
import threading
from pathlib import Path

import pytest
from doubles import sample_world
from doubles_serving import make_server
from driving import stage
from test_serving_story import write_model
from textual.widgets import Input

sys.path.append(str(Path(__file__).parents[1] / "server"))

from server_process import ServerProcess

from quickserveml_tui.client.monitor import MonitorClient
from quickserveml_tui.tui.monitor.view import INTERVALS_S
from quickserveml_tui.tui.screens.report import ReportDialog

pytestmark = pytest.mark.xdist_group("servers")
BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("monitor-live")
    write_model(place / "twice.onnx")
    return place


def serve(folder: Path, port: int = 0) -> ServerProcess:
    return ServerProcess([folder / "twice.onnx"], folder / "log", port=port)


@pytest.fixture(scope="module")
def server(folder):
    with contextlib.closing(serve(folder)) as it:
        yield it


@contextlib.contextmanager
def load(port: int, path: str = "/v2/models/twice/infer"):
    """Requests in a closed loop; a server that is away for a while is asked again."""
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            with contextlib.suppress(OSError, http.client.HTTPException):
                while not stop.wait(0.01):
                    connection.request("POST", path, BODY, {"Content-Type": "application/json"})
                    connection.getresponse().read()
            connection.close()
            stop.wait(0.05)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


@contextlib.asynccontextmanager
async def watching(url: str, size=(120, 40), **options):
    world = sample_world()
    world.monitor = MonitorClient()
    world.servers.running = [make_server(1, "twice@1", url=url)]
    async with stage(world, size, **options) as on:
        await on.press("M")
        await on.until(lambda: on.app.front is not on.bench and on.app.front.is_mounted, "the screen")
        screen = on.app.front
        screen.interval_s = INTERVALS_S[0]
        screen.watch_url(url)
        await on.until(lambda: len(screen.view.history.points) >= 2, "two intervals")
        yield on, screen


async def test_before_anything_is_seen_t_and_e_say_so(server) -> None:
    world = sample_world()
    async with stage(world, (120, 40)) as on:
        await on.press("M")
        await on.until(lambda: on.app.front is not on.bench and on.app.front.is_mounted, "the screen")
        for key in ("t", "E"):
            await on.press(key)
            await on.shows("Nothing was seen of a server yet.")
            assert on.app.screen is on.app.front


async def test_t_shows_the_figures_as_a_table_and_e_writes_them_or_a_picture(server, tmp_path: Path) -> None:
    table, picture = tmp_path / "seen.csv", tmp_path / "seen.svg"
    with load(server.port):
        async with watching(server.url) as (on, screen):
            await on.until(lambda: screen.view.newest.requests_per_s and screen.view.newest.p99_ms, "requests")
            await on.press("t")
            await on.until(lambda: isinstance(on.app.screen, ReportDialog), "the table")
            await on.shows("Figures of all models, last 1 min", "req/s", "p99 ms")
            await on.press("escape")
            await on.until(lambda: on.app.screen is screen, "the screen")
            for path in (table, picture):
                await on.press("E")
                await on.until(lambda: on.app.screen.query("#field-path"), "the form")
                on.app.screen.query_one("#field-path", Input).value = str(path)
                await on.press("enter")
                await on.until(lambda path=path: path.is_file() and path.read_text(), "the file")
                await on.shows(f"Wrote {path}"[:30])
    assert picture.read_text().startswith("<svg")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert {row["model"] for row in rows} == {"", "twice"}
    assert any(float(row["requests_per_s"]) > 0 for row in rows)


async def test_every_key_of_the_footer_is_live_and_v_changes_the_view(server) -> None:
    async with watching(server.url) as (on, screen):
        await on.press("2", "v")
        await on.shows("2 Percentiles", "v heat or lines")
        await on.press("v")
        await on.shows("2 Latency")
        await on.press("6", "v")
        await on.shows("6 Events", "Nothing has happened since this is watched.")
        await on.press("s", "i")  # events have one order
        await on.shows("6 Events")
        await on.press("v")
        await on.shows("6 Workers", "✓ ready")
        for pane in "123456":
            await on.press(pane)
            dead = [
                active.binding.key
                for active in screen.active_bindings.values()
                if active.binding.show and not active.enabled
            ]
            assert not dead, (pane, dead)


async def test_order_cursor_window_interval_and_pause_are_keys(server, tmp_path: Path) -> None:
    with load(server.port):
        async with watching(server.url, home=str(tmp_path)) as (on, screen):
            await on.press("3", "s")
            await on.shows("by p50 ms")
            await on.press("i")
            await on.shows("by p50 ms ▲")
            await on.press("5", "s", "w")
            await on.shows("last 5 min")
            await on.press("plus")
            assert screen.interval_s == INTERVALS_S[1]
            await on.press("minus", "minus")
            assert screen.interval_s == INTERVALS_S[0]
            await on.press("2", "h", "h", "l")
            await on.shows("cursor ")
            await on.press("escape")
            await on.shows("h l move a cursor")
            await on.press("z")
            assert screen.has_class("-maximised")
            await on.press("escape")
            assert not screen.has_class("-maximised")
            await on.press("p")
            await on.shows("Paused; p goes on")
            await on.press("p", "y")
            await on.shows("the address")
            await on.press("3", "Y")
            await on.shows("the table")


async def test_esc_goes_back_to_where_the_monitor_was_opened(server) -> None:
    async with watching(server.url) as (on, screen):
        await on.press("escape")
        await on.until(lambda: on.app.front is on.bench, "the workbench")
        await on.press("N")
        await on.until(lambda: on.app.front.is_mounted and getattr(on.app.front, "server", None), "the servers")
        serve_screen = on.app.front
        for pane in "123":
            await on.press(pane, "m")
            await on.until(lambda: on.app.front is screen, "the monitor")
            await on.press("escape")
            await on.until(lambda: on.app.front is serve_screen, "the servers")


async def test_a_server_started_anew_is_a_gap_and_never_a_negative_or_giant_rate(folder: Path) -> None:
    first = serve(folder)
    second = None
    try:
        with load(first.port):
            async with watching(first.url) as (on, screen):
                history = screen.view.history
                await on.until(lambda: (history.newest.rates.total.requests_per_s or 0) > 5, "requests")
                first.close()
                await on.shows("✕ no answer", "? unknown", "No answer since")
                seen = len(history.points)
                second = serve(folder, first.port)
                await on.until(lambda: len(history.points) > seen + 1 and screen.failure is None, "the new server")
                await on.until(lambda: (history.newest.rates.total.requests_per_s or 0) > 5, "its requests")
                said = [event.words for event in history.events if event.what == "server"]
                assert said[:3] == ["does not answer", "answers again", "was started anew"]
                rates = [one for point in history.points for one in (point.rates.total, *point.rates.models)]
                assert all(0 <= one.requests_per_s < 200 and one.errors_per_s == 0 for one in rates)
                assert all(0 <= point.rates.cpu_cores < 16 for point in history.points)
                starts = [point.at - point.interval_s for point in history.points]
                assert all(
                    start >= before.at - 0.01 for start, before in zip(starts[1:], history.points, strict=False)
                ), "no interval reaches over the gap"
                await on.press("6", "v")
                await on.shows("was started anew")
    finally:
        first.close()
        if second is not None:
            second.close()
