"""The preview of a change for many models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.tui.glyphs import Glyphs
from quickserveml_tui.tui.screens.dialog import Button, ConfirmDialog
from quickserveml_tui.tui.sheets.rows import paragraph
from quickserveml_tui.tui.sheets.sheet import Sheet
from quickserveml_tui.tui.widgets.ink import say, two_edges

if TYPE_CHECKING:
    from quickserveml_tui.core.catalog import BulkItem, BulkReport

MAX_ITEMS = 8


class BulkDialog(ConfirmDialog):
    """What a dry run found, refusals first; `y` does it."""

    def __init__(self, report: BulkReport, *, deletes: bool) -> None:
        from quickserveml_tui.tui.flows.bulk import bulk_words

        what = "Move the marked to the trash?" if deletes else "Change the marked?"
        after = " They can be restored from the trash. Saved benchmarks stay." if deletes and report.changed else ""
        words = f"{bulk_words(report)}.{after}"
        super().__init__(what if report.changed else "Nothing to change", words, key="y", verb="do it")
        self.report = report
        self.armed = report.changed > 0

    def compose_body(self) -> ComposeResult:
        """Counts, the first entries, the choices."""
        yield Sheet(
            lambda width, _: paragraph(self.at_home(self.consequence), width, Role.BODY), classes="dialog--part"
        )
        yield Sheet(self._rows)
        with Horizontal(classes="dialog--buttons"):
            yield Button("esc", "cancel" if self.report.changed else "close", "cancel")
            if self.report.changed:
                yield Button(self.key, self.verb, "confirm")

    def _rows(self, width: int, glyphs: Glyphs) -> list[Row]:
        order = sorted(self.report.items, key=lambda item: (not item.refused, not item.change))
        rows = [_item_row(item, width, glyphs) for item in order[:MAX_ITEMS]]
        if len(order) > MAX_ITEMS:
            rows.append((say(f"and {len(order) - MAX_ITEMS:,} more", Role.MUTED),))
        return rows


def _item_row(item: BulkItem, width: int, glyphs: Glyphs) -> Row:
    sign, role = (glyphs.error, Role.ERROR) if item.refused else (glyphs.ok, Role.OK)
    if not item.refused and not item.change:
        sign, role = glyphs.same, Role.MUTED
    words = item.refused or item.change or "stays as it is"
    left = [Span(f"{sign} ", role), say(item.ref)]
    return two_edges(left, [say(words, Role.BODY if item.refused else Role.MUTED)], width)
