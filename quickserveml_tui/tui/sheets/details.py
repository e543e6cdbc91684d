"""What people wrote of a version, where it comes from, and where its aliases have been."""

from __future__ import annotations

from quickserveml_tui.charts.cells import Role, Row
from quickserveml_tui.core.models import ModelRecord, VersionRecord
from quickserveml_tui.core.refs import PROTECTED_ALIASES
from quickserveml_tui.tui.glyphs import Glyphs
from quickserveml_tui.tui.sheets.rows import labelled
from quickserveml_tui.tui.times import local_clock

MAX_MOVES = 3


def detail_rows(model: ModelRecord, version: VersionRecord, width: int, glyphs: Glyphs) -> list[Row]:
    """Categories, notes, lineage, links, aliases and their last moves; only what there is."""
    lineage = version.lineage
    fields = (
        ("categories", ", ".join(model.categories)),
        ("notes", version.notes),
        ("made from", lineage.made_from),
        ("converted by", lineage.converted_by),
        ("parent", lineage.parent),
        ("linked", link_words(version)),
        ("aliases", alias_words(model)),
    )
    rows: list[Row] = []
    for label, value in fields:
        if value:
            rows += labelled(label, value, width)
    for index, words in enumerate(alias_moves(model, glyphs)):
        rows += labelled("alias moves" if index == 0 else "", words, width, role=Role.MUTED)
    return rows


def link_words(version: VersionRecord) -> str:
    """Where files lie that are referenced in place; empty when the store holds copies."""
    links = [file.link.path for file in version.artifact.files if file.link is not None]
    more = f" and {len(links) - 1} more" if len(links) > 1 else ""
    return f"in place, not copied: {links[0]}{more}" if links else ""


def alias_words(model: ModelRecord) -> str:
    """`canary @2, prod @1 (protected)`."""
    guarded = PROTECTED_ALIASES | set(model.protected)
    return ", ".join(
        f"{alias} @{number}{' (protected)' if alias in guarded else ''}"
        for alias, number in sorted(model.aliases.items())
    )


def alias_moves(model: ModelRecord, glyphs: Glyphs) -> list[str]:
    """The last moves, newest first: `prod @1 › @2  10:28`."""
    moves = []
    for event in reversed(model.alias_history[-MAX_MOVES:]):
        target = f"@{event.version}" if event.version else "taken away"
        way = f"@{event.previous} {glyphs.path} {target}" if event.previous else target
        moves.append(f"{event.alias} {way}  {local_clock(event.at)}")
    return moves
