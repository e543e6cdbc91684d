"""A story by keys with a real server: start it, ask it, watch it work, stop it."""

from __future__ import annotations

import http.client
import threading
from pathlib import Path

import onnx
from driving import Stage
from onnx import TensorProto, helper

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.services.home import open_workbench
from quickserveml_tui.tui.app import WorkbenchApp
from quickserveml_tui.tui.options import WorkbenchOptions


def write_model(path: Path) -> None:
    node = helper.make_node("Add", ["x", "x"], ["y"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("x", "y")]
    graph = helper.make_graph([node], "twice", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


def ask_until(stop: threading.Event, address: str, path: str, body: bytes) -> None:
    """A small load: one connection in a closed loop."""
    connection = http.client.HTTPConnection(address, timeout=20)
    while not stop.wait(0.005):
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        connection.getresponse().read()
    connection.close()


async def test_a_server_is_started_asked_watched_and_stopped(tmp_path: Path) -> None:
    write_model(tmp_path / "twice.onnx")
    home = tmp_path / "home"
    workbench = open_workbench(home)
    workbench.catalog.add(AddRequest(str(tmp_path / "twice.onnx")))
    workbench.close()
    app = WorkbenchApp(lambda: open_workbench(home), WorkbenchOptions(fresh=True, home=str(home)))
    stop, load = threading.Event(), None
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        on = Stage(app, pilot, None)
        try:
            await on.until(lambda: app.bench.selected is not None, "the catalog")
            await on.press("N", "n")
            await on.until(lambda: app.screen.query("#field-port"), "the form")
            app.screen.query_one("#field-port").value = "0"
            await on.shows("quickserveml serve twice@1 --port 0")
            await on.press("enter")
            await on.until(lambda: app.started, "the server")
            server = next(iter(app.started.values()))
            serve = app.front
            await on.until(lambda: serve.request_pane.example, "the example")
            await on.press("2", "f5")
            await on.shows("✓ 200", '"model_name": "twice"')
            body = serve.request_pane.body.encode()
            load = threading.Thread(
                target=ask_until, args=(stop, server.url.removeprefix("http://"), "/v2/models/twice/infer", body)
            )
            load.start()
            await on.press("1", "m")
            await on.until(lambda: app.front is not serve and app.front.view.newest, "an interval")
            watched = app.front.view
            await on.until(lambda: (watched.newest.requests_per_s or 0) > 5 and watched.newest.p99_ms, "the rates")
            await on.shows("requests/s", "twice @1", "● live")
            stop.set()
            await on.press("f3", "1", "D")
            await on.shows("Stop this server?")
            await on.press("y")
            await on.shows("No server of this home runs")
            assert not app.started
            assert app.farewell() is None
        finally:
            stop.set()
            if load is not None:
                load.join(30)
            for server in tuple(app.started.values()):
                app.workbench.servers.stop(server.id)
