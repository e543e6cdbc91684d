"""`open`: the workbench in a terminal."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import HomeOption, JsonOption
from quickserveml_tui.cli.screen import open_workbench_screen


def open_command(
    ref: Annotated[str, Argument(metavar="[REF]", help="Model or file to show first.", show_default=False)] = "",
    *,
    theme: Annotated[
        str,
        Option(
            "--theme",
            metavar="NAME",
            help="dark, light or contrast; what was used last by default.",
            show_default=False,
        ),
    ] = "",
    ascii_only: Annotated[
        bool | None,
        Option("--ascii/--unicode", help="Characters to draw with; by the terminal by default.", show_default=False),
    ] = None,
    mouse: Annotated[
        bool | None, Option("--mouse/--no-mouse", help="Let the workbench take the mouse.", show_default="mouse")
    ] = None,
    fresh: Annotated[
        bool, Option("--fresh", help="Ignore what the last session remembered.", show_default=False)
    ] = False,
    read_only: Annotated[
        bool, Option("--read-only", help="Refuse every action that writes.", show_default=False)
    ] = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Open the workbench on your own catalog."""
    invocation.note(home=home, as_json=as_json)
    open_workbench_screen(ref=ref, theme=theme, ascii_only=ascii_only, mouse=mouse, fresh=fresh, read_only=read_only)
