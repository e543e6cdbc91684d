"""Make the pictures in `screenshots/` from real runs: `python scripts/make_screenshots.py [SCENE …] [--size 160x45]`.

Every picture shows the real workbench over a home of its own with the demo models, driven by keys. SVG is what Textual
exports; PNG is made from it with the dev extra's resvg.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from textual.pilot import Pilot
from textual.widgets import Input

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
os.environ.pop("NO_COLOR", None)
os.environ.update(COLORTERM="truecolor", TERM="xterm-256color")

from svg_to_png import installed_family, render  # noqa: E402

from quickserveml_tui.core.catalog import AddRequest  # noqa: E402
from quickserveml_tui.services.home import open_workbench  # noqa: E402
from quickserveml_tui.tui.app import WorkbenchApp  # noqa: E402
from quickserveml_tui.tui.options import WorkbenchOptions  # noqa: E402
from quickserveml_tui.tui.panes.catalog_filter import CompletionList  # noqa: E402
from quickserveml_tui.tui.panes.request import RequestPane  # noqa: E402

SIZES = ((80, 24), (120, 40), (160, 45))
THEMES = ("dark", "light")
MODEL = "squeezenet"
DEADLINE_S = 90.0


class Stage:
    """The workbench while a picture is made."""

    def __init__(self, app: WorkbenchApp, pilot: Pilot[int], home: Path) -> None:
        self.app, self.pilot, self.home = app, pilot, home

    async def until(self, condition: Callable[[], object], what: str) -> None:
        end = time.monotonic() + DEADLINE_S
        while not condition():
            if time.monotonic() > end:
                raise SystemExit(f"waited in vain for {what}")
            await asyncio.sleep(0.05)
        await self.pilot.pause()

    async def settled(self) -> None:
        await self.until(
            lambda: not any(worker.is_running for worker in self.app.workers if not worker.group.startswith("job-")),
            "the panes to load",
        )

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.settled()

    async def go_to(self, name: str) -> None:
        """Put the cursor on a model by filtering, then show all again."""
        await self.press("1", "slash", *name, "enter")
        await self.press("slash", *(["backspace"] * len(name)), "enter")


async def empty(stage: Stage) -> None:
    await stage.settled()


async def overview(stage: Stage) -> None:
    await stage.go_to("digits")
    await stage.press("enter", "2")


async def layers(stage: Stage) -> None:
    await stage.go_to(MODEL)
    await stage.press("2", "right_square_bracket", *["j"] * 6)


async def inputs(stage: Stage) -> None:
    await stage.go_to("digits")
    await stage.press("2", *["right_square_bracket"] * 2)


async def live(stage: Stage) -> None:
    await stage.go_to(MODEL)
    await stage.press("b", "3")
    await asyncio.sleep(6.5)


async def result(stage: Stage) -> None:
    await stage.go_to(MODEL)
    await stage.press("b", "3")
    await stage.until(lambda: not stage.app.bench.lane.busy, "the run to end")
    await stage.settled()
    await asyncio.sleep(0.5)


async def batch(stage: Stage) -> None:
    await stage.go_to("digits")
    await stage.press("r")
    await stage.pilot.press("enter")
    await stage.until(lambda: not stage.app.bench.lane.busy, "the batch to end")
    await stage.press("4")


async def settings(stage: Stage) -> None:
    await stage.go_to(MODEL)
    await stage.press("B")


async def helping(stage: Stage) -> None:
    await stage.go_to("digits")
    await stage.press("question_mark")


async def palette(stage: Stage) -> None:
    await stage.go_to("digits")
    await stage.press("ctrl+p")


async def deleting(stage: Stage) -> None:
    await stage.go_to(MODEL)
    await stage.press("D")


async def filtering(stage: Stage) -> None:
    await stage.press("slash", *"params")
    await stage.pilot.press(
        "space", "less_than_sign", "space", *"10", "M", "space", *"AND", "space", *"bench", "full_stop"
    )
    await stage.until(lambda: stage.app.bench.query_one(CompletionList).open, "the completions")


async def filter_error(stage: Stage) -> None:
    await stage.press("slash", *"digits")
    await stage.settled()
    await stage.press("space", *"AND", "space", *"parms", "space", "less_than_sign", "space", *"10", "M")
    await stage.until(lambda: stage.app.bench.catalog_pane.has_class("-noted"), "the error")


async def marks(stage: Stage) -> None:
    await stage.press("asterisk", "D")
    await stage.until(lambda: len(stage.app.screen_stack) > 1, "the preview")


async def trash(stage: Stage) -> None:
    for name in ("alexnet", "squeezenet"):
        await stage.go_to(name)
        await stage.press("D", "y")
        await stage.until(lambda: stage.app.bench.catalog_pane.table.row_count, "the rest")
        await stage.settled()
    await stage.press("U")
    await stage.until(lambda: len(stage.app.screen_stack) > 1, "the trash")


async def quitting(stage: Stage) -> None:
    await stage.go_to(MODEL)
    await stage.press("b", "3")
    await asyncio.sleep(3)
    await stage.press("q")


async def health(stage: Stage) -> None:
    await stage.until(lambda: stage.app.bench.query("#banner"), "the banner")


async def add_file(stage: Stage, name: str) -> None:
    """Add a file that lies beside the home, and wait until the cursor is on it."""
    stage.app.bench.add_file(AddRequest(str(stage.home.parent / f"{name}.onnx")))
    await stage.until(lambda: stage.app.bench.ref.startswith(f"{name}@"), "the new version")
    await stage.settled()


async def unrunnable(stage: Stage) -> None:
    await add_file(stage, "ledger")
    await stage.press("2")


async def why(stage: Stage) -> None:
    await unrunnable(stage)
    await stage.press("w")


async def converting(stage: Stage) -> None:
    await stage.go_to("digits")
    await stage.press("2", "O")


async def opened(stage: Stage) -> None:
    stage.app.bench.open_reference(str(stage.home.parent / "ledger.onnx"))
    await stage.until(lambda: stage.app.bench.opened_file, "the file")
    await stage.settled()


async def outputs(stage: Stage) -> None:
    await stage.go_to("digits")
    await stage.press("2", "p")
    await stage.until(lambda: len(stage.app.screen_stack) > 1, "the outputs")


async def made_up(stage: Stage) -> None:
    await stage.go_to("digits")
    await stage.press("2", "f")


async def golden(stage: Stage) -> None:
    await stage.go_to("digits")
    pane = stage.app.bench.inspector_pane
    for name in ("default", "second"):
        await stage.press("2", *(["right_square_bracket"] * 3 if name == "default" else []), "n")
        await stage.press(*name, "enter")
        await stage.until(lambda: not stage.app.bench.lane.busy, "the recording")
        await stage.settled()
    await stage.until(lambda: len(pane.golden_view.items) == 2, "both in the list")
    await stage.press("V")
    await stage.until(lambda: pane.golden_view.report is not None, "the check")
    await stage.press("2", "j")


async def start_server(stage: Stage) -> None:
    """Start a server for two demo models by keys, and wait until it is listed with an example request."""
    await stage.press("N", "n")
    await stage.until(lambda: stage.app.screen.query("#field-models"), "the form")
    stage.app.screen.query_one("#field-models", Input).value = "digits squeezenet"
    stage.app.screen.query_one("#field-port", Input).value = "0"
    await stage.pilot.press("enter")
    await stage.until(lambda: stage.app.started, "the server")
    await stage.until(lambda: stage.app.front.query_one(RequestPane).example, "the example")


async def serving(stage: Stage) -> None:
    await start_server(stage)
    await stage.settled()


async def starting(stage: Stage) -> None:
    await stage.go_to("digits")
    await stage.press("N", "n")


async def request(stage: Stage) -> None:
    await start_server(stage)
    await stage.pilot.press("2", "f5")
    await stage.until(lambda: stage.app.front.query_one(RequestPane).answer, "the answer")


async def monitor(stage: Stage) -> None:
    await start_server(stage)
    url = next(iter(stage.app.started.values())).url
    remote = stage.app.workbench.remote
    bodies = {name: remote.example(url, name).encode() for name in ("digits", "squeezenet")}
    stop = threading.Event()

    def load(name: str, pause_s: float) -> None:
        while not stop.wait(pause_s * (0.4 + 0.6 * abs(math.sin(time.monotonic() / 6)))):
            remote.send(url, f"/v2/models/{name}/infer", bodies[name])

    clients = [threading.Thread(target=load, args=item) for item in (("digits", 0.02), ("squeezenet", 0.15))]
    for client in clients:
        client.start()
    try:
        await stage.pilot.press("1", "m")
        await asyncio.sleep(32)
        await stage.pilot.press("2")
        await stage.pilot.pause()
    finally:
        stop.set()
        for client in clients:
            await asyncio.to_thread(client.join)


SCENES: dict[str, Callable[[Stage], Awaitable[None]]] = {
    "empty": empty,
    "overview": overview,
    "layers": layers,
    "inputs": inputs,
    "live": live,
    "result": result,
    "batch": batch,
    "settings": settings,
    "help": helping,
    "palette": palette,
    "delete": deleting,
    "filter": filtering,
    "filter-error": filter_error,
    "marks": marks,
    "trash": trash,
    "quit": quitting,
    "health": health,
    "unrunnable": unrunnable,
    "why": why,
    "convert": converting,
    "opened": opened,
    "outputs": outputs,
    "made-up-inputs": made_up,
    "golden": golden,
    "serve": serving,
    "serve-start": starting,
    "request": request,
    "monitor": monitor,
}


def write_breaking(path: Path) -> None:
    """A small model that ends its process: the smallest whole number divided by −1, while the session is made."""
    numbers = [numpy_helper.from_array(np.array([value], dtype=np.int32), name) for name, value in
               (("least", -(2**31)), ("minus_one", -1))]  # fmt: skip
    graph = helper.make_graph(
        [
            helper.make_node("Div", ["least", "minus_one"], ["quotient"], name="divide"),
            helper.make_node("Add", ["counts", "quotient"], ["sums"], name="add"),
        ],
        "ledger",
        [helper.make_tensor_value_info("counts", TensorProto.INT32, ["rows"])],
        [helper.make_tensor_value_info("sums", TensorProto.INT32, ["rows"])],
        numbers,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


async def picture(scene: str, size: tuple[int, int], theme: str, home: Path) -> str:
    """The SVG of one scene."""
    options = WorkbenchOptions(theme=theme, fresh=True, home=str(home))
    app = WorkbenchApp(lambda: open_workbench(home), options)
    async with app.run_test(size=size) as pilot:
        stage = Stage(app, pilot, home)
        await stage.until(lambda: app.bench.workbench is not None, "the services")
        await stage.settled()
        await SCENES[scene](stage)
        await pilot.pause()
        svg = app.export_screenshot(title="quickserveml")
        app.bench.lane.cancel_all("")
        for server in tuple(app.started.values()):
            await asyncio.to_thread(app.workbench.servers.stop, server.id)
    return svg


def main() -> None:
    """Make the pictures that the command line names, or all."""
    parser = argparse.ArgumentParser(description="Make the pictures in screenshots/ from real runs.")
    parser.add_argument("scenes", nargs="*", help=f"{', '.join(SCENES)}; all by default")
    parser.add_argument("--size", action="append", help="such as 160x45; all three by default")
    parser.add_argument("--theme", action="append", choices=(*THEMES, "contrast"), help="dark and light by default")
    parser.add_argument("--out", type=Path, default=ROOT / "screenshots")
    chosen = parser.parse_args()
    unknown = set(chosen.scenes) - set(SCENES)
    if unknown:
        parser.error(f"no scene {', '.join(sorted(unknown))}")
    sizes = [tuple(map(int, size.split("x"))) for size in chosen.size] if chosen.size else SIZES
    family = installed_family()
    chosen.out.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="quickserveml-"))
    try:
        write_breaking(folder / "ledger.onnx")
        demo = folder / "catalog"
        workbench = open_workbench(demo)
        workbench.demo.install()
        workbench.close()
        for scene in chosen.scenes or SCENES:
            for theme in chosen.theme or THEMES:
                for size in sizes:
                    home = folder / "home"
                    shutil.rmtree(home, ignore_errors=True)
                    if scene != "empty":
                        shutil.copytree(demo, home, copy_function=shutil.copy)
                    if scene == "health":
                        (home / "registry.json").write_bytes(b"{ this is no registry")
                    svg = asyncio.run(picture(scene, size, theme, home))
                    stem = chosen.out / f"workbench-{scene}-{size[0]}x{size[1]}-{theme}"
                    stem.with_suffix(".svg").write_text(svg, encoding="utf-8")
                    stem.with_suffix(".png").write_bytes(render(svg, family, 1.0))
                    print(stem.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
