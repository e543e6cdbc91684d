"""What a chart is made of: rows of text with roles, so that a theme, a test and plain output can each read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from quickserveml_tui.core.text import cell_width

if TYPE_CHECKING:
    from rich.text import Text


class Charset(StrEnum):
    """Signs that a chart may use."""

    BRAILLE = "braille"
    BLOCK = "block"
    ASCII = "ascii"


class Role(StrEnum):
    """Meaning of a piece of text; the value is the name of the theme's token."""

    STRONG = "text-strong"
    BODY = "body"
    MUTED = "muted"
    ALT = "alt"
    FAINT = "faint"
    GRID = "grid"
    ACCENT = "accent"
    OK = "ok"
    WARN = "warn"
    ERROR = "error"
    INFO = "info"
    SELECT = "select"
    RAISED = "raised"
    ON_ACCENT = "on-accent"
    HEAT_0 = "heat-0"
    HEAT_1 = "heat-1"
    HEAT_2 = "heat-2"
    HEAT_3 = "heat-3"
    HEAT_4 = "heat-4"
    HEAT_5 = "heat-5"
    HEAT_6 = "heat-6"


HEAT = (Role.HEAT_0, Role.HEAT_1, Role.HEAT_2, Role.HEAT_3, Role.HEAT_4, Role.HEAT_5, Role.HEAT_6)

PLAIN_STYLES: Mapping[Role, str] = {Role.STRONG: "bold", Role.MUTED: "dim", Role.GRID: "dim", Role.FAINT: "dim"}
"""Rich styles without colour, for command-line output."""

TERMINAL_STYLES: Mapping[Role, str] = {
    **PLAIN_STYLES,
    Role.ACCENT: "yellow",
    Role.ALT: "bright_black",
    Role.OK: "green",
    Role.WARN: "yellow",
    Role.ERROR: "red",
    Role.INFO: "cyan",
}
"""Rich styles in the terminal's own palette, for command-line output."""


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of text in one role; `back` is the role of its background, if it has one of its own."""

    text: str
    role: Role = Role.BODY
    bold: bool = False
    back: Role | None = None
    under: bool = False
    """Whether it is underlined: what stands for colour where there is none."""


Row = tuple[Span, ...]


def pad_row(spans: Iterable[Span], width: int, *, right: bool = False) -> Row:
    """`spans` filled with blanks to `width` cells, at the right or (`right=True`) at the left."""
    row = tuple(spans)
    missing = width - sum(cell_width(span.text) for span in row)
    if missing <= 0:
        return row
    blank = Span(" " * missing)
    return (blank, *row) if right else (*row, blank)


def runs(chars: Sequence[str], roles: Sequence[Role]) -> Row:
    """Cells with a role each as spans: neighbours of one role become one span."""
    spans: list[Span] = []
    start = 0
    for index in range(1, len(chars) + 1):
        if index == len(chars) or roles[index] is not roles[start]:
            spans.append(Span("".join(chars[start:index]), roles[start]))
            start = index
    return tuple(spans)


@dataclass(frozen=True, slots=True)
class Drawing:
    """A finished chart: rows of spans from top to bottom."""

    rows: tuple[Row, ...] = ()

    @property
    def height(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def plain(self) -> str:
        """The text alone; blanks at line ends are dropped."""
        return "\n".join("".join(span.text for span in row).rstrip() for row in self.rows)

    def roles(self) -> str:
        """One line per row with the role of each run, for snapshots: `muted:'36' grid:'┈┈'`."""
        return "\n".join(
            " ".join(f"{span.role.value}:{span.text!r}" for span in row if span.text.strip()) for row in self.rows
        )

    def to_text(self, styles: Mapping[Role, str] | None = None) -> Text:
        """A Rich text; `styles` maps roles to Rich styles (none by default)."""
        from rich.text import Text

        styles = styles or {}
        text = Text(no_wrap=True, end="")
        for index, row in enumerate(self.rows):
            if index:
                text.append("\n")
            for span in row:
                style = styles.get(span.role, "")
                if span.back is not None and span.back in styles:
                    style = f"{style} on {styles[span.back]}".strip()
                text.append(span.text, f"{style} bold".strip() if span.bold else style)
        return text
