"""The form that points an alias at a version: what a move changes is said before it is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult

from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.tui.glyphs import Glyphs
from quickserveml_tui.tui.screens.forms import Field, FormDialog
from quickserveml_tui.tui.sheets.rows import paragraph
from quickserveml_tui.tui.sheets.sheet import Sheet

if TYPE_CHECKING:
    from quickserveml_tui.core.models import ModelRecord


class AliasForm(FormDialog):
    """An alias and whether it is protected; below, where the alias points now and what its move changes for others."""

    def __init__(
        self, model: ModelRecord, version: int, *, about: str, check: Callable[[dict[str, str]], dict[str, Any]]
    ) -> None:
        self.model, self.version = model, version
        fields = [
            Field("alias", "alias", "", "prod, staging or a name of your own"),
            Field("protect", "protected", choices=("as it is", "yes", "no")),
        ]
        super().__init__(f"Alias for {model.name}@{version}", fields, about=about, check=check)

    def compose_notes(self) -> ComposeResult:
        """Where the alias points, and what is to be said of the move."""
        notes = Sheet(id="alias-notes", classes="form--notes")
        notes.display = False
        yield notes

    def field_changed(self) -> None:
        """The notes follow the name that is typed."""
        words = move_notes(self.model, self.version, self.values["alias"])
        for sheet in self.query("#alias-notes").results(Sheet):
            sheet.display = bool(words)
            sheet.show(lambda width, glyphs: _rows(words, width, glyphs))


def move_notes(model: ModelRecord, version: int, alias: str) -> list[tuple[Role, str]]:
    """What pointing `alias` at a version means, as sentences with their role; none for an alias that is new."""
    from quickserveml_tui.core.models import AliasEvent
    from quickserveml_tui.services.alias_moves import move_warnings

    name = alias.removeprefix("-")
    before = model.aliases.get(name)
    if before is None:
        return []
    if alias.startswith("-"):
        return [(Role.INFO, f"{name} points at {model.name}@{before}; {model.name}@{name} will be unknown.")]
    if before == version:
        return [(Role.INFO, f"{name} points at {model.name}@{before} already.")]
    said = [(Role.INFO, f"{name} moves from {model.name}@{before} to {model.name}@{version}.")]
    event = AliasEvent(name, version, before, "")
    return said + [(Role.WARN, sentence) for sentence in move_warnings(model, event)]


def _rows(words: list[tuple[Role, str]], width: int, glyphs: Glyphs) -> list[Row]:
    rows: list[Row] = []
    for role, sentence in words:
        sign = glyphs.warn if role is Role.WARN else " "
        for index, row in enumerate(paragraph(sentence, width - 2, Role.WARN if role is Role.WARN else Role.BODY)):
            rows.append((Span(f"{sign} " if index == 0 else "  ", role), *row))
    return rows
