"""`open`: the workbench in a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import HomeOption, JsonOption
from quickserveml_tui.core.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from quickserveml_tui.core.ports import Workbench


def open_command(
    ref: Annotated[str, Argument(metavar="[REF]", help="Model or file to show first.", show_default=False)] = "",
    *,
    theme: Annotated[
        str, Option("--theme", metavar="NAME", help="dark or light; what was used last by default.", show_default=False)
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
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Open the workbench on your own catalog."""
    invocation.note(home=home, as_json=as_json)
    open_workbench_screen(ref=ref, theme=theme, ascii_only=ascii_only, mouse=mouse, fresh=fresh)


def has_terminal() -> bool:
    """Whether the workbench has a terminal to read keys from and paint on."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def open_workbench_screen(
    *,
    ref: str = "",
    theme: str = "",
    ascii_only: bool | None = None,
    mouse: bool | None = None,
    fresh: bool = False,
    demo: bool = False,
    home: Path | None = None,
) -> None:
    """Run the workbench until the user quits. Raises `UsageError` without a terminal."""
    if invocation.as_json or not has_terminal():
        raise UsageError(
            "There is no terminal to open the workbench in.",
            hint="Name a command: quickserveml --help lists them; quickserveml demo prints a tour.",
            code="usage.no_terminal",
        )
    if theme not in ("", "dark", "light"):
        raise UsageError("--theme is dark or light.", hint="Leave it away to take what was used last.")
    from quickserveml_tui.tui.options import WorkbenchOptions
    from quickserveml_tui.tui.run import run_workbench

    settings = invocation.settings
    folder = home or invocation.home_path()
    options = WorkbenchOptions(
        open_ref=ref,
        theme=theme or settings.theme,
        ascii=_draws_ascii(ascii_only if ascii_only is not None else settings.ascii),
        mouse=mouse if mouse is not None else settings.mouse,
        fresh=fresh,
        demo=demo,
        home=str(folder),
        keymap=settings.keys,
    )

    def factory() -> Workbench:
        from quickserveml_tui.services.home import open_workbench

        return open_workbench(folder)

    run_workbench(factory, options)


def _draws_ascii(chosen: bool | None) -> bool:
    """Whether to draw with ASCII only: as chosen, else where the terminal's encoding is not UTF-8."""
    from quickserveml_tui.cli.output import takes_unicode

    return chosen if chosen is not None else not takes_unicode(sys.stdout)
