"""Glyph sets: Unicode, and an ASCII twin for every sign."""

from __future__ import annotations

import locale
import os
import sys
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from quickserveml_tui.charts.cells import Charset

if TYPE_CHECKING:
    from textual.widget import Widget


@dataclass(frozen=True, slots=True)
class Glyphs:
    """Signs of the interface, one cell each unless said otherwise."""

    charset: Charset
    """How charts draw."""
    ok: str
    warn: str
    error: str
    info: str
    running: str
    queued: str
    held: str
    up: str
    down: str
    same: str
    open: str
    folded: str
    unfolded: str
    path: str
    cursor: str
    """Bar at the left of the row under the cursor."""
    bar: str
    half: str
    track: str
    focus_rule: str
    tab_rule: str
    mark: str
    hatch: str
    edge_h: str
    edge_v: str
    times: str
    """Sign between the sizes of a shape, and before a count."""
    missing: str
    ellipsis: str
    dash: str
    """Joins the ends of an interval."""
    minus: str

    @property
    def ascii_only(self) -> bool:
        """Whether this is the ASCII set."""
        return self.charset is Charset.ASCII


UNICODE = Glyphs(
    charset=Charset.BRAILLE, ok="✓", warn="!", error="✕", info="·", running="●", queued="○", held="‖", up="▲", down="▼",
    same="=", open="?", folded="▶", unfolded="▼", path="›", cursor="▌", bar="━", half="╸", track="━", focus_rule="▁",
    tab_rule="▔", mark="✓", hatch="╱", edge_h="─", edge_v="│", times="×", missing="–", ellipsis="…", dash="–",
    minus="−",
)  # fmt: skip
ASCII = Glyphs(
    charset=Charset.ASCII, ok="+", warn="!", error="x", info=".", running="*", queued="o", held="=", up="^", down="v",
    same="=", open="?", folded=">", unfolded="v", path=">", cursor=">", bar="=", half=".", track=".", focus_rule="-",
    tab_rule="-", mark="+", hatch="/", edge_h="-", edge_v="|", times="x", missing="-", ellipsis="~", dash="-",
    minus="-",
)  # fmt: skip

_TWINS = {
    getattr(UNICODE, name.name): getattr(ASCII, name.name)
    for name in fields(Glyphs)
    if name.name not in ("charset", "track", "half", "queued")
}
_TO_ASCII = str.maketrans(
    {**_TWINS, "○": "o", "—": "-", "“": '"', "”": '"', "’": "'", "±": "~", "µ": "u", "▲": "^", "▼": "v", "┈": " "}
)


def to_ascii(text: str) -> str:
    """`text` with the signs and the typography that we use ourselves replaced by their ASCII twins; letters stay."""
    return text.translate(_TO_ASCII)


def choose_glyphs(ascii_only: bool | None = None) -> Glyphs:
    """The glyph set to use: as asked, or by what the terminal can show.

    The Linux console has no braille, and an encoding other than UTF-8 has none of these signs.
    """
    if ascii_only is None:
        encoding = (getattr(sys.stdout, "encoding", None) or locale.getpreferredencoding(False)).lower()
        ascii_only = "utf" not in encoding or os.environ.get("TERM", "") in ("linux", "dumb", "vt100", "vt220")
    return ASCII if ascii_only else UNICODE


def glyphs_of(widget: Widget) -> Glyphs:
    """The glyph set of the app that `widget` runs in."""
    found = getattr(widget.app, "glyphs", UNICODE)
    return found if isinstance(found, Glyphs) else UNICODE
