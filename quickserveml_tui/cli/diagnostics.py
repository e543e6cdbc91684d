"""The owner of stderr and of exit codes: every way a command can end goes through `run`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from quickserveml_tui.core.errors import ExitCode, QuickServeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from quickserveml_tui.cli.output import Terminal


def run(arguments: list[str]) -> int:
    """Run a command line; returns its exit code. Nothing is raised but `SystemExit`."""
    _open_closed_streams()
    try:
        code = _guarded(lambda: _execute(arguments), as_json=wants_json(arguments), verbose=wants_verbose(arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone, as in `… | head`.
        _discard(sys.stdout)
        return 0
    except OSError as error:
        from quickserveml_tui.cli.output import unwritable

        _discard(sys.stdout)
        return report(unwritable(error), as_json=False)
    return code


def _open_closed_streams() -> None:
    """Give streams that the caller closed, as in `>&-`, somewhere to go: no file opened later may become stdout."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - open as long as we run


def _discard(stream: TextIO) -> None:
    """Point a stream that takes no more elsewhere, or the interpreter complains when it flushes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def wants_json(arguments: list[str]) -> bool:
    """Whether `--json` is among the options: known even when the command line cannot be parsed."""
    return "--json" in _options(arguments)


def wants_verbose(arguments: list[str]) -> bool:
    """Whether `--verbose` is among the options."""
    return "--verbose" in _options(arguments)


def _options(arguments: list[str]) -> list[str]:
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _execute(arguments: list[str]) -> None:
    from quickserveml_tui.cli.commands import completion_variable

    program = os.path.basename(sys.argv[0]).removesuffix(".exe")  # noqa: PTH119 - pathlib is not needed for help
    completing = bool(os.environ.get(completion_variable(program)))
    if not completing and _opens_a_screen(arguments):
        return
    from quickserveml_tui.cli import app

    if completing:
        app.complete(app.build(completing=True), program)
    app.invoke(app.build(), arguments)


def _opens_a_screen(arguments: list[str]) -> bool:
    """Open the workbench for the shortest command lines without Typer, which costs 130 ms before the first frame."""
    if arguments not in ([], ["open"], ["demo"]):
        return False
    from quickserveml_tui.cli.screen import open_demo, open_workbench_screen

    if arguments == ["demo"]:
        open_demo()
    else:
        open_workbench_screen()
    return True


def _guarded(action: Callable[[], None], *, as_json: bool, verbose: bool) -> int:
    try:
        action()
    except KeyboardInterrupt:
        return _report_interrupt(as_json=as_json)
    except QuickServeError as error:
        return report(error, as_json=as_json, verbose=verbose)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the last line of defence: it says so and writes a report
        return _report_other(error, as_json=as_json, verbose=verbose)
    return ExitCode.DONE


def _report_other(error: Exception, *, as_json: bool, verbose: bool) -> int:
    """End for Typer's own exceptions, and for whatever should not have happened."""
    import typer

    # Click's UsageError: Typer does not export it, and it moved between versions.
    click_error: Any = typer.BadParameter.__bases__[0]
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, typer.Abort):
        return _report_interrupt(as_json=as_json)
    if isinstance(error, click_error):
        return report(_from_click(error), as_json=as_json)
    from quickserveml_tui.cli.crash import crash_error

    return report(crash_error(error), as_json=as_json, verbose=verbose)


def _report_interrupt(*, as_json: bool) -> int:
    from quickserveml_tui.core.errors import CancelledError

    return report(CancelledError("Interrupted.", hint="What was finished before is kept."), as_json=as_json)


def report(error: QuickServeError, *, as_json: bool, verbose: bool = False) -> int:
    """Say what went wrong, as a document on stdout or a sentence on stderr; returns the exit code.

    A command that has printed its document, such as that of a server that is up, gets no second one.

    `verbose` adds the detail: the whole text that the sentence was made of, such as the runtime's own words.
    """
    from quickserveml_tui.cli.front import invocation
    from quickserveml_tui.cli.output import Output, Terminal, with_home
    from quickserveml_tui.core.text import safe_lines, safe_text

    if as_json and not invocation.has_answered:
        document = error.to_doc()
        fields = {
            key: with_home(safe_text(value)) if isinstance(value, str) else value
            for key, value in document["error"].items()
        }
        if verbose:
            fields["detail"] = safe_lines(error.detail)
        try:
            Output(as_json=True).document({"error": fields})
        except QuickServeError as unwritten:
            return report(unwritten, as_json=False)
        return int(error.exit_code)
    terminal = Terminal(sys.stderr)
    glyph = terminal.style("✕" if terminal.unicode else "x", "error")
    try:
        if filter_text := getattr(error, "text", ""):
            _point_at(terminal, filter_text, getattr(error, "column", 1))
        terminal.line(f"{glyph} {safe_text(error.message)}")
        if error.hint:
            terminal.line(f"  {terminal.style(safe_text(error.hint), 'muted')}")
        if verbose:
            _tell_detail(terminal, error.detail)
        sys.stderr.flush()
    except (QuickServeError, OSError):  # nowhere to say it: the exit code does
        _discard(sys.stderr)
    return int(error.exit_code)


def detail(text: str) -> None:
    """All that was said about something, on stderr, indented."""
    from quickserveml_tui.cli.output import Terminal

    _tell_detail(Terminal(sys.stderr), text)


def _tell_detail(terminal: Terminal, text: str) -> None:
    from quickserveml_tui.core.text import safe_lines

    for line in safe_lines(text).splitlines():
        terminal.line(f"    {line}")


def _point_at(terminal: Terminal, filter_text: str, column: int) -> None:
    """Show a filter with a mark under the place where it could not be read."""
    import shutil

    from quickserveml_tui.cli.filter_text import pointer_lines

    shown, mark = pointer_lines(filter_text, column, shutil.get_terminal_size().columns)
    terminal.line(f"  {shown}")
    terminal.line(f"  {terminal.style(mark, 'error')}")


def _from_click(error: Any) -> UsageError:
    """A parse error in the form of all others: one sentence and what to do."""
    context = getattr(error, "ctx", None)
    message = " ".join(error.format_message().split()) or "The command line is not complete."
    path = context.command_path if context is not None else "quickserveml"
    return UsageError(
        message if message.endswith((".", "?")) else f"{message}.", hint=f"{path} --help lists the options."
    )


def note(text: str) -> None:
    """One line for people on stderr."""
    from quickserveml_tui.cli.output import Terminal
    from quickserveml_tui.core.text import safe_text

    terminal = Terminal(sys.stderr)
    terminal.line(terminal.style(safe_text(text), "muted"))


def warn(text: str) -> None:
    """A warning on stderr: glyph and sentence."""
    from quickserveml_tui.cli.output import Terminal
    from quickserveml_tui.core.text import safe_text

    terminal = Terminal(sys.stderr)
    terminal.line(f"{terminal.style('!', 'warn')} {safe_text(text)}")
