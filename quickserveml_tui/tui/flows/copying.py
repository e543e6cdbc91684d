"""Copying: references, commands and tables, by whatever way the terminal has."""

from __future__ import annotations

from quickserveml_tui.core.text import plural
from quickserveml_tui.tui.flows.base import FlowScreen


class CopyingFlow(FlowScreen):
    """What `y` and `Y` copy depends on the pane that has the focus."""

    current: int
    """Number of the pane that has the focus."""

    def action_copy_reference(self) -> None:
        """Copy the reference; in pane 3 the command, in the layer table the layer's reference."""
        layers = self.inspector_pane.layer_view
        command = self.benchmark_pane.command
        if self.current == 3 and command:
            self.copy_words(command, "the command")
        elif self.current == 2 and self.inspector_pane.tab == "layers" and layers.shown:
            self.copy_words(f"{self.ref}#{layers.shown[layers.table.cursor_index or 0].name}", "the reference")
        else:
            self.copy_words(self.ref, "the reference")

    def action_copy_view(self) -> None:
        """Copy the focused pane's table as tab-separated text, or its figures."""
        if self.current == 2 and self.inspector_pane.tab == "layers":
            titles, rows = self.inspector_pane.layer_view.table.as_table()
        elif self.current == 3 and self.benchmark_pane.run is not None:
            titles, rows = self.benchmark_pane.as_table()
        else:
            titles, rows = self.catalog_pane.table.as_table()
        self.copy_words("\n".join("\t".join(row) for row in (titles, *rows)), plural(len(rows), "row"))
