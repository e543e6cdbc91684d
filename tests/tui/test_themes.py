from __future__ import annotations

import pytest
from textual.app import App
from textual.widgets import Label

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.tui.glyphs import ASCII, UNICODE, choose_glyphs, to_ascii
from quickserveml_tui.tui.themes import PALETTES, THEMES, ThemeSupport, fitting_theme, terminal_colours


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


COLOURED = [name for name, palette in PALETTES.items() if palette.ground.startswith("#")]
FULL = ["ember-dark", "ember-light", "contrast"]


@pytest.mark.parametrize("name", FULL)
def test_permitted_pairs_reach_the_contrast_of_the_design(name):
    palette = PALETTES[name]
    surfaces = [palette.ground, palette.pane, palette.focus, palette.raised, palette.select]
    at_rest = surfaces[:4]  # muted never stands on the row under the cursor
    assert min(contrast(palette.text, surface) for surface in surfaces) >= 9.85
    assert min(contrast(palette.body, surface) for surface in surfaces) >= 6.85
    assert min(contrast(palette.muted, surface) for surface in at_rest) >= 4.65
    for role in (palette.ok, palette.warn, palette.error, palette.info):
        assert min(contrast(role, surface) for surface in surfaces) >= 4.55
    assert min(contrast(palette.accent, surface) for surface in at_rest[1:]) >= 4.45
    assert contrast(palette.accent, palette.ground) >= 3.95


@pytest.mark.parametrize("name", COLOURED)
def test_every_coloured_theme_is_readable(name):
    palette = PALETTES[name]
    surfaces = [palette.ground, palette.pane, palette.focus, palette.raised]
    inks = (palette.text, palette.body, palette.muted, palette.ok, palette.warn, palette.error, palette.info)
    assert min(contrast(ink, surface) for ink in inks for surface in surfaces) >= 4.5
    assert min(contrast(ink, palette.select) for ink in (palette.text, palette.body)) >= 4.5


@pytest.mark.parametrize("name", COLOURED)
def test_labels_on_heat_are_readable_and_heat_is_ordered_by_lightness(name):
    palette = PALETTES[name]
    for step, heat in enumerate(palette.heat):
        ink = palette.text if step < palette.hot_from else palette.on_accent
        assert contrast(ink, heat) >= 4.5
    lightness = [luminance(heat) for heat in palette.heat]
    assert lightness == sorted(lightness, reverse=not palette.dark)


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_every_theme_defines_every_role(theme):
    for role in Role:
        assert role.value in theme.variables


@pytest.mark.parametrize(
    ("wanted", "colours", "no_color", "expected"),
    [
        ("ember-dark", "truecolor", False, "ember-dark"),
        ("ember-light", "256", False, "ember-light-256"),
        ("ember-dark", "standard", False, "ember-16"),
        ("ember-dark", None, False, "mono"),
        ("ember-light", "truecolor", True, "mono"),
        ("contrast", "256", False, "contrast"),
        ("contrast", "standard", False, "ember-16"),
    ],
)
def test_a_theme_collapses_to_what_the_terminal_shows(wanted, colours, no_color, expected):
    assert fitting_theme(wanted, colours, no_color=no_color) == expected


@pytest.mark.parametrize(
    ("environ", "colours"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "truecolor"),
        ({"TERM": "screen-256color"}, "256"),
        ({"TERM": "linux"}, "standard"),
        ({"TERM": "dumb"}, None),
    ],
)
def test_the_environment_says_what_the_terminal_shows(environ, colours):
    assert terminal_colours(environ) == colours


class Themed(ThemeSupport, App):
    CSS = "Screen { background: $ground; color: $accent; } Label { background: $heat-6; }"

    def compose(self):
        yield Label("words")


async def colours_of(app: Themed) -> set[str]:
    async with app.run_test(size=(20, 4)) as pilot:
        await pilot.pause()
        styles = [segment.style for strip in app.screen._compositor.render_strips() for segment in strip]
        colours = [colour for style in styles if style for colour in (style.color, style.bgcolor)]
        return {str(colour) for colour in colours if colour is not None and not colour.is_default}


async def test_no_color_sends_no_colour_at_all(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert await colours_of(Themed()) == set()


async def test_an_empty_no_color_is_no_wish(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "")
    app = Themed()
    assert not app.no_color
    assert await colours_of(app)


@pytest.mark.parametrize("theme", [theme.name for theme in THEMES] + ["nord", "textual-light"])
async def test_every_theme_can_be_chosen_while_it_runs(theme, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    app = Themed()
    async with app.run_test(size=(20, 4)) as pilot:
        app.theme = theme
        await pilot.pause()
        assert app.query_one(Label).size.width


def test_the_ascii_set_is_ascii_and_has_a_twin_for_every_sign():
    for name in ASCII.__slots__:
        assert str(getattr(ASCII, name)).isascii()
        assert len(getattr(UNICODE, name)) >= 1
    assert to_ascii("✓ 3–5 ms × 2 … ▌") == "+ 3-5 ms x 2 ~ >"


def test_the_glyph_set_follows_the_wish_then_the_terminal(monkeypatch):
    assert choose_glyphs(True) is ASCII
    assert choose_glyphs(False) is UNICODE
    monkeypatch.setenv("TERM", "linux")
    assert choose_glyphs(None) is ASCII
