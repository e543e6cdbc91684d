"""What to do with an empty registry."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType

from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.widgets.empty import Choice, ChoiceList

CHOICES = (
    Choice(
        "d",
        "Open the demo models",
        "A digits classifier in several versions, already on disk. First chart: d, then b.",
        action="screen.install_demo",
    ),
    Choice(
        "a",
        "Add a model file",
        "A path, or drop the file onto this window. .onnx, with or without external data.",
        action="screen.add_model",
    ),
    Choice(
        "s", "Scan a folder", "Finds every model below it. Nothing is copied until you choose.", "screen.scan_folder"
    ),
)


class StartChoices(ChoiceList):
    """What to do with an empty registry; `s` scans here, where there is nothing to sort."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("d", "screen.install_demo", "demo", "start.open_demo", "Register the demo models"),
        bind("a", "screen.add_model", "add file", "start.add_model", "Add a model file by its path"),
        bind("s", "screen.scan_folder", "scan folder", "start.scan_folder", "Look for models in a folder"),
    ]
