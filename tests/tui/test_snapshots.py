"""Snapshots of the main screen as text with the role of every run, so that a new Textual does not break them.

Write them anew with `QSML_UPDATE_SNAPSHOTS=1 pytest tests/tui/test_snapshots.py` and look at the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from doubles import World, sample_world
from driving import Stage, stage

from quickserveml_tui.tui.themes import PALETTES

FOLDER = Path(__file__).parent / "snapshots"
SIZES = [(80, 24), (120, 40), (160, 45)]
HOME = Path("/home/user/.local/share/quickserveml")


def roles_of(theme: str) -> dict[str, str]:
    palette = PALETTES[theme]
    names = [
        "ground",
        "pane",
        "focus",
        "raised",
        "select",
        "text",
        "body",
        "muted",
        "alt",
        "faint",
        "grid",
        "accent",
        "ok",
        "warn",
        "error",
        "info",
        "on_accent",
    ]
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(getattr(palette, name).lower(), name)
    for step, colour in enumerate(palette.heat):
        found.setdefault(colour.lower(), f"heat{step}")
    return found


def snapshot(on: Stage) -> str:
    """Each line of the screen, followed by its runs as `tone/role:text`; `*` marks bold."""
    roles = roles_of(on.app.theme)
    lines = []
    for strip in on.app.screen._compositor.render_strips():
        text = "".join(segment.text for segment in strip).rstrip()
        lines.append(text)
        runs: list[list[str]] = []
        for segment in strip:
            style = segment.style
            if not segment.text.strip() or style is None:
                continue
            ink = style.color.get_truecolor().hex if style.color else "-"
            back = style.bgcolor.get_truecolor().hex if style.bgcolor else "-"
            name = f"{roles.get(back, back)}/{roles.get(ink, ink)}{'*' if style.bold else ''}"
            words = " ".join(segment.text.split())
            if runs and runs[-1][0] == name:
                runs[-1][1] += f" {words}"
            else:
                runs.append([name, words])
        if runs:
            lines.append("    " + "  ".join(f"{name}:{words}" for name, words in runs))
    return "\n".join(lines) + "\n"


async def compare(name: str, on: Stage) -> None:
    await on.still()
    text = snapshot(on)
    path = FOLDER / f"{name}.txt"
    if os.environ.get("QSML_UPDATE_SNAPSHOTS"):
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), "there is no snapshot yet: run with QSML_UPDATE_SNAPSHOTS=1"
    assert text == path.read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def truecolor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_empty_workbench_looks_as_it_should(tmp_path: Path, size) -> None:
    async with stage(World(home=HOME), size, home=str(tmp_path)) as on:
        await on.shows("Start with a model")
        await compare(f"empty-{size[0]}x{size[1]}", on)


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_filled_workbench_looks_as_it_should(tmp_path: Path, size, theme: str) -> None:
    async with stage(sample_world(HOME), size, home=str(tmp_path), theme=theme, open_ref="digits") as on:
        await on.shows("digits")
        await compare(f"catalog-{theme}-{size[0]}x{size[1]}", on)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_layer_table_looks_as_it_should(tmp_path: Path, size) -> None:
    async with stage(sample_world(HOME), size, home=str(tmp_path), open_ref="digits") as on:
        await on.press("2", "right_square_bracket")
        await on.until(lambda: on.bench.inspector_pane.layer_view.loaded, "the layers")
        await on.settled()
        await compare(f"layers-{size[0]}x{size[1]}", on)


async def test_without_colour_the_focus_and_the_cursor_are_still_seen(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with stage(sample_world(HOME), (120, 40), home=str(tmp_path), open_ref="digits") as on:
        assert on.app.theme == "mono"
        styles = {}
        for strip in on.app.screen._compositor.render_strips():
            for segment in strip:
                if segment.text.strip() and segment.style is not None:
                    styles.setdefault(segment.text.strip(), segment.style)
        assert any(style.reverse and "Catalog" in text for text, style in styles.items()), (
            "the focused title is reversed"
        )
        assert any(style.reverse and "digits" in text for text, style in styles.items()), "the cursor row is reversed"


async def test_the_ascii_set_draws_with_ascii_only(tmp_path: Path) -> None:
    world = sample_world(HOME)
    async with stage(world, (120, 40), home=str(tmp_path), ascii=True, open_ref="digits") as on:
        strange = {char for char in on.text() if ord(char) > 126 and char != "\n"}
        assert not strange, strange
