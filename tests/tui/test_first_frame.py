"""The first frame: real panes and keys, painted before what it does not show is there."""

from __future__ import annotations

import asyncio
import gc

import pytest
from doubles import World
from driving import Stage

from quickserveml_tui.tui.app import WorkbenchApp
from quickserveml_tui.tui.options import WorkbenchOptions


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (160, 45)], ids=str)
async def test_the_first_frame_names_the_panes_and_the_keys(size) -> None:
    app = WorkbenchApp(World, WorkbenchOptions(fresh=True))

    async def nothing_more() -> None: ...

    app.bench.furnish = nothing_more
    async with app.run_test(size=size) as pilot:
        stage = Stage(app, pilot, World())
        await stage.shows("1 Catalog", "2 Inspector", "3 Benchmark", "Reading the registry", "? more", "b benchmark")
        assert not any(pane.furnished for pane in app.bench.panes)
        assert app.bench.catalog_pane.focus_inside


async def test_keys_pressed_at_the_first_frame_are_obeyed_once_the_panes_are_complete() -> None:
    app = WorkbenchApp(World, WorkbenchOptions(fresh=True))
    furnish, gate = app.bench.furnish, asyncio.Event()

    async def later() -> None:
        await gate.wait()
        await furnish()

    app.bench.furnish = later
    async with app.run_test(size=(120, 40)) as pilot:
        stage = Stage(app, pilot, World())
        await stage.shows("Reading the registry")
        app.simulate_key("2")
        gate.set()
        await stage.until(lambda: app.bench.current == 2, "pane 2")
        await stage.until(lambda: app.bench.workbench is not None, "the services")
        assert all(pane.furnished for pane in app.bench.panes)
        assert gc.isenabled()
