"""The way into the workbench."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING

from quickserveml_tui.tui.options import WorkbenchOptions

if TYPE_CHECKING:
    from quickserveml_tui.core.ports import Workbench


def run_workbench(factory: Callable[[], Workbench], options: WorkbenchOptions | None = None) -> int:
    """Open the workbench in this terminal and return its exit code.

    `factory` opens the services; it is called in a worker thread once the first frame is on the screen. The terminal is
    restored in any case; after a crash one line with the path of the report is left on it.
    """
    # What is made until the first frame stays: looking through it for garbage takes a tenth of the start.
    gc.disable()
    try:
        from quickserveml_tui.tui.app import WorkbenchApp

        options = options or WorkbenchOptions()
        app = WorkbenchApp(factory, options)
        result = app.run(mouse=options.mouse)
    finally:
        gc.enable()
    return result if isinstance(result, int) else app.return_code or 0
