"""Themes of the terminal interface: the ember palette as Textual themes and CSS variables.

Every theme defines the same tokens, so a style sheet may use `$ground`, `$pane`, `$focus`, `$raised`, `$select`,
`$text-strong`, `$body`, `$muted`, `$alt`, `$faint`, `$grid`, `$accent`, `$ok`, `$warn`, `$error`, `$info`, `$heat-0` to
`$heat-6`, `$on-accent`, and the text styles `$title-style`, `$focus-title-style`, `$cursor-style`, `$current-style`,
which carry the meaning where there is no colour.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from textual.filter import LineFilter, Monochrome, NoColor
from textual.theme import Theme

from quickserveml_tui.tui.glyphs import Glyphs, choose_glyphs

if TYPE_CHECKING:
    from textual.app import App

    _Base = App[Any]
else:
    _Base = object


_NAMED = (
    "ground", "pane", "focus", "raised", "select", "body", "muted", "alt", "faint", "grid", "accent", "ok", "warn",
    "error", "info",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of one theme; each field is a token of the design."""

    ground: str
    pane: str
    focus: str
    raised: str
    select: str
    text: str
    body: str
    muted: str
    alt: str
    faint: str
    grid: str
    accent: str
    ok: str
    warn: str
    error: str
    info: str
    heat: tuple[str, str, str, str, str, str, str]
    on_accent: str
    """Ink on an accent or hot surface."""
    hot_from: int = 4
    """First heat step whose label takes `on_accent` ink; below it the label is `text`."""
    dark: bool = True
    styles: Mapping[str, str] = field(default_factory=dict)
    """Text styles that replace colour, by variable name."""

    def tokens(self) -> dict[str, str]:
        """CSS variables by name."""
        variables: dict[str, str] = {name: getattr(self, name) for name in _NAMED}
        variables["text-strong"] = self.text
        variables["on-accent"] = self.on_accent
        for step, colour in enumerate(self.heat):
            variables[f"heat-{step}"] = colour
            variables[f"heat-ink-{step}"] = self.text if step < self.hot_from else self.on_accent
        return {**variables, **COLOUR_STYLES, **self.styles}


COLOUR_STYLES = {"title-style": "none", "focus-title-style": "none", "cursor-style": "none", "current-style": "bold"}
MONO_STYLES = {
    "title-style": "underline",
    "focus-title-style": "reverse",
    "cursor-style": "reverse",
    "current-style": "bold underline",
}

DARK = Palette(
    ground="#110e0c", pane="#1b1714", focus="#241f1a", raised="#2f2822", select="#43342b",
    text="#f3e9dc", body="#cfc3b4", muted="#9d9081", alt="#8a7d70", faint="#5e544b", grid="#3a322c",
    accent="#ff7a3d", ok="#9ccf8a", warn="#f2c75c", error="#ff7b90", info="#8fb8de",
    heat=("#2d2621", "#472d21", "#6b3a22", "#9a4a24", "#cf5d2b", "#ff7a3d", "#ffb27d"),
    on_accent="#1a0e07",
)  # fmt: skip
LIGHT = Palette(
    ground="#ddd2c2", pane="#f1e9de", focus="#fdf9f3", raised="#e8ddcf", select="#f5dccb",
    text="#231b14", body="#463b31", muted="#63574a", alt="#8d7f70", faint="#a39584", grid="#d8cdbe",
    accent="#b23a08", ok="#285f24", warn="#6d4b00", error="#b3123a", info="#1f5a8c",
    heat=("#ebe2d6", "#f7d9c4", "#f5bd99", "#ee9a69", "#df7138", "#b23a08", "#7d2804"),
    on_accent="#fff8f2", hot_from=5, dark=False,
)  # fmt: skip
CONTRAST = Palette(
    ground="#000000", pane="#121212", focus="#202020", raised="#303030", select="#003d5c",
    text="#ffffff", body="#f2f2f2", muted="#d0d0d0", alt="#b0b0b0", faint="#8a8a8a", grid="#5a5a5a",
    accent="#ffb000", ok="#7dff7d", warn="#ffe45c", error="#ff9aa8", info="#8ad4ff",
    heat=("#453000", "#573c00", "#6e4d00", "#8f6400", "#bd8500", "#ffb000", "#ffe0a0"),
    on_accent="#000000", styles={"title-style": "bold", "focus-title-style": "bold", "current-style": "bold underline"},
)  # fmt: skip
# The exact colours of the 256-colour cube: focus has the tone of the pane, heat has four steps.
DARK_256 = Palette(
    ground="#080808", pane="#1c1c1c", focus="#1c1c1c", raised="#303030", select="#3a3a3a",
    text="#eeeeee", body="#d0d0d0", muted="#a8a8a8", alt="#808080", faint="#585858", grid="#444444",
    accent="#ff875f", ok="#afd787", warn="#ffd75f", error="#ff87af", info="#87afd7",
    heat=("#262626", "#5f0000", "#5f0000", "#af0000", "#d75f00", "#ff875f", "#ff875f"),
    on_accent="#080808", styles={"current-style": "bold underline", "focus-title-style": "bold"},
)  # fmt: skip
LIGHT_256 = Palette(
    ground="#dadada", pane="#eeeeee", focus="#eeeeee", raised="#e4e4e4", select="#ffd7af",
    text="#121212", body="#303030", muted="#4e4e4e", alt="#808080", faint="#a8a8a8", grid="#d0d0d0",
    accent="#870000", ok="#005f00", warn="#5f5f00", error="#87005f", info="#005f87",
    heat=("#e4e4e4", "#ffd7af", "#ffd7af", "#ffaf5f", "#d75f00", "#870000", "#870000"),
    on_accent="#eeeeee", hot_from=5, dark=False,
    styles={"current-style": "bold underline", "focus-title-style": "bold"},
)  # fmt: skip
ANSI_16 = Palette(
    ground="ansi_default", pane="ansi_default", focus="ansi_default", raised="ansi_default", select="ansi_default",
    text="ansi_bright_white", body="ansi_default", muted="ansi_default", alt="ansi_default", faint="ansi_bright_black",
    grid="ansi_bright_black", accent="ansi_bright_yellow", ok="ansi_green", warn="ansi_yellow", error="ansi_bright_red",
    info="ansi_cyan",
    heat=("ansi_default", "ansi_default", "ansi_blue", "ansi_blue", "ansi_red", "ansi_bright_yellow",
          "ansi_bright_yellow"),
    on_accent="ansi_black", hot_from=5,
    styles=MONO_STYLES,
)  # fmt: skip
_PLAIN = "ansi_default"
MONO = Palette(
    ground=_PLAIN, pane=_PLAIN, focus=_PLAIN, raised=_PLAIN, select=_PLAIN, text=_PLAIN, body=_PLAIN, muted=_PLAIN,
    alt=_PLAIN, faint=_PLAIN, grid=_PLAIN, accent=_PLAIN, ok=_PLAIN, warn=_PLAIN, error=_PLAIN, info=_PLAIN,
    heat=(_PLAIN, _PLAIN, _PLAIN, _PLAIN, _PLAIN, _PLAIN, _PLAIN), on_accent=_PLAIN, styles=MONO_STYLES,
)  # fmt: skip

PALETTES: Mapping[str, Palette] = {
    "ember-dark": DARK,
    "ember-light": LIGHT,
    "contrast": CONTRAST,
    "ember-dark-256": DARK_256,
    "ember-light-256": LIGHT_256,
    "ember-16": ANSI_16,
    "mono": MONO,
}
DEFAULT_THEME = "ember-dark"


def _textual_variables(palette: Palette) -> dict[str, str]:
    """What Textual's own widgets take their colours from."""
    return {
        "scrollbar": palette.faint,
        "scrollbar-hover": palette.alt,
        "scrollbar-active": palette.accent,
        "scrollbar-background": palette.pane,
        "scrollbar-background-hover": palette.pane,
        "scrollbar-background-active": palette.pane,
        "scrollbar-corner-color": palette.pane,
        "border": palette.faint,
        "border-blurred": palette.grid,
        "block-cursor-foreground": palette.text,
        "block-cursor-background": palette.select,
        "block-cursor-text-style": "bold",
        "block-cursor-blurred-foreground": palette.body,
        "block-cursor-blurred-background": palette.raised,
        "block-cursor-blurred-text-style": "none",
        "input-cursor-background": palette.text,
        "input-cursor-foreground": palette.ground,
        "input-cursor-text-style": "reverse" if palette.text == _PLAIN else "none",
        "input-selection-background": palette.select,
        "footer-background": palette.ground,
        "footer-foreground": palette.muted,
        "footer-key-foreground": palette.text,
        "link-color": palette.info,
        "link-style": "underline",
        "ansi-background": palette.ground if palette.ground == _PLAIN else "transparent",
        "ansi-foreground": palette.text,
    }


def make_theme(name: str, palette: Palette) -> Theme:
    """A Textual theme with every token of `palette`."""
    return Theme(
        name=name,
        primary=palette.accent,
        secondary=palette.alt,
        accent=palette.accent,
        warning=palette.warn,
        error=palette.error,
        success=palette.ok,
        foreground=palette.body,
        background=palette.ground,
        surface=palette.pane,
        panel=palette.raised,
        boost=palette.raised,
        dark=palette.dark,
        ansi=palette.ground == _PLAIN,
        variables={**palette.tokens(), **_textual_variables(palette)},
    )


THEMES: tuple[Theme, ...] = tuple(make_theme(name, palette) for name, palette in PALETTES.items())


def terminal_colours(environ: Mapping[str, str]) -> str | None:
    """What the terminal can show, by its environment: `truecolor`, `256`, `standard`, or None for no colour."""
    wished = environ.get("TEXTUAL_COLOR_SYSTEM", "").lower()
    if wished in ("truecolor", "256", "standard"):
        return wished
    term = environ.get("TERM", "").lower()
    if environ.get("COLORTERM", "").lower() in ("truecolor", "24bit") or term.endswith("-direct"):
        return "truecolor"
    if term in ("dumb", "unknown", "vt100", "vt220"):
        return None
    if "256color" in term or term in ("xterm-kitty", "alacritty", "foot", "wezterm", "xterm-ghostty"):
        # These terminals know all colours; multiplexers and ssh keep TERM and lose COLORTERM.
        return "256" if "256color" in term else "truecolor"
    if term in ("xterm", "screen", "tmux"):
        return "256"
    return "standard" if term in ("linux", "ansi", "rxvt", "cygwin") else "truecolor"


def fitting_theme(wanted: str, color_system: str | None, *, no_color: bool) -> str:
    """The theme to use where `wanted` is asked for.

    Args:
        wanted: Name of a theme.
        color_system: What the terminal can do: `truecolor`, `256`, `standard`, or None for no colour.
        no_color: Whether the user asked for no colour at all.
    """
    if no_color or color_system is None:
        return "mono"
    if color_system == "standard" and wanted in PALETTES:
        return "ember-16"
    if not wanted.startswith("ember-"):
        return wanted
    if color_system in ("256", "eight_bit") and wanted in ("ember-dark", "ember-light"):
        return f"{wanted}-256"
    return wanted


class ThemeSupport(_Base):
    """Mix in before `App`: registers the themes, honours `NO_COLOR`, offers `glyphs`.

    `NO_COLOR` counts when it is not empty (no-color.org); then the theme is `mono` and no colour reaches the terminal.
    """

    glyphs: Glyphs

    def __init__(self, *args: Any, ascii_only: bool | None = None, **kwargs: Any) -> None:
        if os.environ.get("NO_COLOR") == "":
            # Textual takes the empty value for a wish; the convention says that it is none.
            del os.environ["NO_COLOR"]
        super().__init__(*args, **kwargs)
        self.glyphs = choose_glyphs(ascii_only)
        for theme in THEMES:
            self.register_theme(theme)
        self.wanted_theme = DEFAULT_THEME
        """What was asked for; the terminal may show less."""
        self.choose_theme(DEFAULT_THEME)

    def on_mount(self) -> None:
        """Without a terminal (tests, pictures) nothing limits the colours but the wish for none."""
        if self.is_headless:
            self.choose_theme(self.wanted_theme)

    def choose_theme(self, wanted: str) -> None:
        """Use a theme, or the nearest one that the terminal can show."""
        self.wanted_theme = wanted
        colours = "truecolor" if self.is_headless else terminal_colours(os.environ)
        self.theme = fitting_theme(wanted, colours, no_color=self.no_color)
        if not self.is_running:
            # Else the style sheet would be read with the tokens of Textual's own theme first.
            self._first_tokens = self.get_css_variables()
            self.stylesheet.set_variables(self._first_tokens)

    def refresh_css(self, animate: bool = True) -> None:
        """Read the style sheet again; not before there is a screen, as it is read for the first one anyway."""
        if self.screen_stack or self.get_css_variables() != self._first_tokens:
            super().refresh_css(animate)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Tokens for a theme of Textual or the user that does not define them."""
        return (DARK if self.current_theme.dark else LIGHT).tokens()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's filters, with greys replaced by no colour at all in the mono theme."""
        filters = [one for one in super().get_line_filters() if not isinstance(one, (Monochrome, NoColor))]
        return [*filters, NoColor()] if self.theme == "mono" else filters
