"""A process of its own: the workbench over 30 hostile files and 200 openings; prints how much it has grown."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from odd_models import linear, variants  # noqa: E402

from quickserveml_tui.core.catalog import AddRequest  # noqa: E402
from quickserveml_tui.services.home import open_workbench  # noqa: E402
from quickserveml_tui.tui.app import WorkbenchApp  # noqa: E402
from quickserveml_tui.tui.options import WorkbenchOptions  # noqa: E402

DEADLINE_S = 400.0
WARM = 20
OPENINGS = 200


def anonymous_kb() -> int:
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1])


async def main(folder: Path) -> None:
    files = folder / "models"
    files.mkdir()
    hostile = variants(files)
    good = linear(files / "good.onnx")
    end = time.monotonic() + DEADLINE_S

    async def until(condition) -> None:
        while not condition():
            assert time.monotonic() < end, "the deadline has passed"
            await asyncio.sleep(0.005)

    home = folder / "home"
    app = WorkbenchApp(lambda: open_workbench(home), WorkbenchOptions(fresh=True, home=str(home)))
    async with app.run_test(size=(120, 40)) as pilot:
        bench = app.bench
        await until(lambda: bench.workbench is not None)
        await until(lambda: not bench.catalog_pane.has_class("-loading"))

        async def add(path: Path) -> None:
            bench.add_file(AddRequest(str(path)))
            await until(lambda: not bench.lane.busy)
            await pilot.pause()

        async def open_file() -> None:
            before = bench.sequence
            bench.open_reference(str(good))
            await until(lambda: bench.sequence != before)
            await until(lambda: bench.inspector_pane.shown and not bench.inspector_pane.shown.counting)
            await pilot.pause()

        for path in hostile[:6]:
            await add(path)
        for _ in range(WARM):
            await open_file()
        before = anonymous_kb()
        for path in hostile[6:]:
            await add(path)
        for _ in range(OPENINGS - WARM):
            await open_file()
        grown = anonymous_kb() - before
        added = sum(job.kind == "add" for job in bench.lane.jobs)
    print(json.dumps({"opened": OPENINGS, "added": added, "before_kb": before, "grown_kb": grown}))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
