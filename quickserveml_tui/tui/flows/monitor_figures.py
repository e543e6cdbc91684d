"""Figures of the monitor beside its charts: as a table, and in files."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import BindingType

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.errors import ConflictError, StoreError, UsageError
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.tui.drops import expanded
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.monitor.messages import FiguresWritten
from quickserveml_tui.tui.screens.side import SideScreen

if TYPE_CHECKING:
    from quickserveml_tui.tui.monitor.view import View

ENDINGS = (".csv", ".svg")


def _check(values: dict[str, str]) -> dict[str, Any]:
    path = Path(expanded(values["path"])).absolute()
    if not values["path"] or path.suffix not in ENDINGS:
        raise UsageError("The ending decides what is written.", hint=".csv is the figures, .svg a picture.")
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder “{safe_text(path.parent, 120)}”.", hint="tab completes a path.")
    if path.exists():
        raise ConflictError(f"{safe_text(path.name, 80)} is there already.", hint="Take another name.")
    return {"path": path}


def write_new(path: Path, text: str) -> None:
    """Write a file that must not be there yet. Raises `StoreError`."""
    try:
        with path.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise StoreError(
            f"{safe_text(path, 200)} cannot be written: {error.strerror}.", hint="Choose another folder or name."
        ) from error


class FiguresFlow(SideScreen):
    """`t` shows the figures of the window as a table, `E` writes them, or a picture of the screen, to a file."""

    view: View
    url: str
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("t", "show_figures", "table", "monitor.show_figures", "Show the same numbers as a table"),
        bind("E", "export_figures", "export", "monitor.export_figures",
             "Write the figures to a CSV file, or the screen to an SVG file", show=False),
    ]  # fmt: skip

    def action_show_figures(self) -> None:
        """The window as a table; `y` there copies all that is kept, as CSV."""
        from quickserveml_tui.tui.monitor.figures import as_csv, table_rows
        from quickserveml_tui.tui.screens.report import ReportDialog

        view = self.view
        name = "@".join(view.model) if view.model else "all models"
        title = f"Figures of {safe_text(name, 60)}, {view.window_words}"
        dialog = ReportDialog(title, lambda width, _: table_rows(view, width), as_csv(view.history))
        dialog.add_class("-figures")
        self.app.push_screen(dialog)

    def action_export_figures(self) -> None:
        """Ask for a path."""
        from quickserveml_tui.tui.screens.forms import Field, FormDialog

        host = re.sub(r"[^\w.-]+", "-", self.url.partition("://")[2])[:60]
        start = str(Path.cwd() / f"monitor-{host}-{time.strftime('%Y%m%d-%H%M%S')}.csv")
        fields = [Field("path", "write to", start, path="file", suffixes=ENDINGS)]
        about = f".csv is {plural(len(self.view.history.points), 'interval')} as figures; .svg is the screen as it is."
        form = FormDialog("Export what was seen", fields, about=about, verb="export", check=_check)
        self.app.push_screen(form, self._write)

    def _write(self, values: dict[str, Any] | None) -> None:
        if values is not None:
            # Once the form is gone: the picture is of the screen below it.
            self.call_after_refresh(self._write_file, values["path"])

    def _write_file(self, path: Path) -> None:
        from quickserveml_tui.tui.monitor.figures import as_csv

        is_table = path.suffix == ".csv"
        text = as_csv(self.view.history) if is_table else self.app.export_screenshot(title=self.url)

        def work() -> FiguresWritten:
            write_new(path, text)
            return FiguresWritten(path)

        self.in_thread(work, group="export", doing="Writing the file")

    def on_figures_written(self, event: FiguresWritten) -> None:
        """Say where it is."""
        event.stop()
        self.tell(f"Wrote {safe_text(event.path, 200)}", Role.OK)
