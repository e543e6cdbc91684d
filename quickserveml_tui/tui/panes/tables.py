"""The table of a pane that has its own keys for sorting and opening."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from quickserveml_tui.tui.widgets.virtual_table import VirtualTable

_LEFT_TO_THE_PANE = {"s", "S", "space", "enter"}


class PaneTable(VirtualTable, inherit_bindings=False):
    """A table that keeps the keys that move, and leaves `s`, `S`, enter and space to its pane."""

    BINDINGS: ClassVar[list[BindingType]] = [
        binding for binding in Binding.make_bindings(VirtualTable.BINDINGS) if binding.key not in _LEFT_TO_THE_PANE
    ]
