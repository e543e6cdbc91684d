"""Turn SVG screenshots of the terminal interface into PNG pictures: `python scripts/svg_to_png.py A.svg [B.svg …]`.

Each picture is written beside its SVG, or below `--out`. The font is the first one of `FAMILIES` that the machine has;
any other monospace font works too, because Textual's SVG fixes the width of every run of text.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

FAMILIES = {"Fira Code": "FiraCode", "JetBrains Mono": "JetBrainsMono", "DejaVu Sans Mono": "DejaVuSansMono"}
FONT_FOLDERS = (
    Path("/usr/share/fonts"),
    Path("/usr/local/share/fonts"),
    Path.home() / ".local/share/fonts",
    Path.home() / ".fonts",
    Path("/Library/Fonts"),
)
_TEXT = re.compile(r"<text (?![^>]*xml:space)")
_FONT_FACE = re.compile(r"@font-face\s*\{.*?\}", re.DOTALL)


def installed_family() -> str:
    """The best monospace family with heavy line-drawing that is installed; the generic one if there is none."""
    names = {path.name for folder in FONT_FOLDERS if folder.is_dir() for path in folder.rglob("*.?tf")}
    for family, prefix in FAMILIES.items():
        if any(name.startswith(prefix) for name in names):
            return family
    return "monospace"


def render(svg: str, family: str, zoom: float) -> bytes:
    """PNG bytes of a screenshot."""
    import resvg_py

    text = _FONT_FACE.sub("", svg).replace("font-family: Fira Code, monospace", f"font-family: '{family}', monospace")
    text = re.sub(r"font-family:\s*Fira Code[^;]*;", f"font-family: '{family}', monospace;", text)
    # Without it runs of blanks collapse and words move to the left.
    text = _TEXT.sub('<text xml:space="preserve" ', text)
    return bytes(resvg_py.svg_to_bytes(svg_string=text, monospace_family=family, font_family=family, zoom=zoom))


def main(arguments: list[str] | None = None) -> int:
    """Convert the files named on the command line."""
    parser = argparse.ArgumentParser(description="Turn SVG screenshots into PNG pictures.")
    parser.add_argument("files", nargs="+", type=Path, help="SVG files")
    parser.add_argument("--out", type=Path, default=None, help="folder for the pictures (default: beside each SVG)")
    parser.add_argument("--zoom", type=float, default=1.0, help="size of the picture (default: 1)")
    options = parser.parse_args(arguments)
    family = installed_family()
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    for path in options.files:
        target = (options.out or path.parent) / f"{path.stem}.png"
        target.write_bytes(render(path.read_text(encoding="utf-8"), family, options.zoom))
        print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
