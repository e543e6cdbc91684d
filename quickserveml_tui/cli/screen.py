"""The workbench in this terminal, on the user's home or on the demo's; imports no Typer, so that it opens fast."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from quickserveml_tui.cli.front import invocation
from quickserveml_tui.core.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from quickserveml_tui.core.ports import Workbench


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
    read_only: bool = False,
    home: Path | None = None,
) -> None:
    """Run the workbench until the user quits. Raises `UsageError` without a terminal."""
    if invocation.as_json or not has_terminal():
        raise UsageError(
            "There is no terminal to open the workbench in.",
            hint="Name a command: quickserveml --help lists them; quickserveml demo prints a tour.",
            code="usage.no_terminal",
        )
    if theme not in ("", "dark", "light", "contrast"):
        raise UsageError("--theme is dark, light or contrast.", hint="Leave it away to take what was used last.")
    from quickserveml_tui.tui.options import WorkbenchOptions
    from quickserveml_tui.tui.run import run_workbench

    settings = invocation.settings
    folder = home or invocation.home_path()
    read_only = read_only or settings.read_only
    options = WorkbenchOptions(
        open_ref=ref,
        theme=theme or settings.theme,
        ascii=_draws_ascii(ascii_only if ascii_only is not None else settings.ascii),
        mouse=mouse if mouse is not None else settings.mouse,
        fresh=fresh,
        demo=demo,
        read_only=read_only,
        home=str(folder),
        keymap=settings.keys,
    )

    def factory() -> Workbench:
        from quickserveml_tui.services.home import open_workbench

        return open_workbench(
            folder, read_only=settings.read_only, policy=invocation.policy(), trial=invocation.trial_policy()
        )

    run_workbench(factory, options)


def _draws_ascii(chosen: bool | None) -> bool:
    """Whether to draw with ASCII only: as chosen, else where the terminal's encoding is not UTF-8."""
    from quickserveml_tui.cli.output import takes_unicode

    return chosen if chosen is not None else not takes_unicode(sys.stdout)


def open_demo(*, plain: bool = False) -> None:
    """Open the workbench on the demo models; print the tour where there is no terminal or text is asked for."""
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
