"""`demo`: the workbench on models that come with the program, or a tour of them as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Option

from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import HomeOption, JsonOption

if TYPE_CHECKING:
    from pathlib import Path


def demo(
    *,
    plain: Annotated[
        bool, Option("--plain", help="Print the tour as text, also in a terminal.", show_default=False)
    ] = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Open the workbench on demo models, or print a tour of them.

    The models live in a home of their own, apart from your catalog, and no network is used. Without a terminal, with
    --plain and with --json the tour is printed: catalog, inspection, benchmark, prediction, accuracy.
    """
    from quickserveml_tui.cli.workbench import has_terminal, open_workbench_screen

    invocation.note(home=home, as_json=as_json)
    folder = demo_home()
    invocation.note(home=str(folder))  # logs and reproducing commands belong to the demo's home too
    if plain or invocation.as_json or not has_terminal():
        from quickserveml_tui.cli.tour import run_tour

        run_tour(folder)
    else:
        open_workbench_screen(demo=True, home=folder)


def demo_home() -> Path:
    """The demo's folder: `--home`, else beside the user's own home; never the user's own by accident."""
    from quickserveml_tui.config.files import default_home

    if invocation.has_home_flag:
        return invocation.home_path()
    own = default_home()
    return own.with_name(f"{own.name}-demo")
