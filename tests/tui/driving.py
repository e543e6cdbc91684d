"""Steps that pilot tests share: open the workbench over a double, wait for a state, read what is on the screen."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

from doubles import World
from textual.pilot import Pilot
from textual.widgets import Input

from quickserveml_tui.tui.app import WorkbenchApp
from quickserveml_tui.tui.options import WorkbenchOptions

DEADLINE_S = 20.0


class Stage:
    """The running workbench, as a test sees it."""

    def __init__(self, app: WorkbenchApp, pilot: Pilot, world: World) -> None:
        self.app = app
        self.pilot = pilot
        self.world = world

    @property
    def bench(self):
        return self.app.bench

    async def press(self, *keys: str) -> Stage:
        await self.pilot.press(*keys)
        return self

    async def write(self, text: str) -> Stage:
        """Put text into the focused field, as a fast typist would."""
        field = self.app.screen.focused
        assert isinstance(field, Input), f"the focus is on {field}"
        field.replace(text, *sorted(field.selection))
        await self.pilot.pause()
        return self

    async def until(self, condition, what: str = "") -> Stage:
        end = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end, f"waited in vain for {what or condition}:\n{self.text()}"
            await self.pilot.pause()
            await asyncio.sleep(0.01)
        await self.pilot.pause()
        return self

    async def shows(self, *words: str) -> Stage:
        return await self.until(lambda: all(word in self.text() for word in words), f"{words}")

    async def settled(self) -> Stage:
        """Wait until nothing is loading any more."""
        await self.until(
            lambda: not any(worker.is_running for worker in self.app.workers if not worker.group.startswith("job-")),
            "workers",
        )
        return self

    async def still(self) -> Stage:
        """Wait until the screen has stopped changing."""
        await self.settled()
        same, before = 0, ""
        while same < 8:
            await self.settled()
            await self.pilot.pause(0.03)
            text = self.text()
            same, before = (same + 1, before) if text == before else (0, text)
        return self

    def text(self) -> str:
        """The characters on the screen."""
        lines = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in lines)

    def line(self, word: str) -> str:
        return next(line for line in self.text().splitlines() if word in line)


@asynccontextmanager
async def stage(
    world: World, size: tuple[int, int] = (160, 45), *, unread: bool = False, notifications: bool = False, **options
):
    app = WorkbenchApp(lambda: world, WorkbenchOptions(**{"fresh": True, **options}))
    async with app.run_test(size=size, notifications=notifications) as pilot:
        opened = Stage(app, pilot, world)
        try:
            await opened.until(lambda: app.bench.workbench is not None, "the services")
            if not unread:
                await opened.until(lambda: not app.bench.catalog_pane.has_class("-loading"), "the catalog")
            await opened.settled()
            yield opened
        finally:
            app.bench.lane.cancel_all("")
            app.bench.stop_following()
            world.end()
