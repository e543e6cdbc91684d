"""`demo`: the workbench on models that come with the program, or a tour of them as text."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import HomeOption, JsonOption
from quickserveml_tui.cli.screen import open_demo


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
    invocation.note(home=home, as_json=as_json)
    open_demo(plain=plain)
