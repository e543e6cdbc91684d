"""The Typer application: one group whose commands are imported when they are called."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from quickserveml_tui.cli.commands import COMMANDS, SECTIONS, CommandEntry, completion_variable
from quickserveml_tui.cli.options import HomeOption, JsonOption, VerboseOption, VersionOption
from quickserveml_tui.core.errors import UsageError

PROGRAM = "quickserveml"


class LazyGroup(TyperGroup):
    """Knows its commands by a table: their modules are imported when one of them runs or is asked for help.

    Help of the group needs only the table, so it stays as fast as that of an empty application however many options
    the commands have.
    """

    def list_commands(self, _ctx: Any) -> list[str]:
        """Names that help and completion show."""
        return [entry.name for entry in COMMANDS.values() if not entry.hidden]

    def get_command(self, _ctx: Any, cmd_name: str) -> Any:
        """The command with this name, imported now; None for an unknown name."""
        entry = COMMANDS.get(cmd_name)
        return None if entry is None else load_command(entry)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first argument names. Raises `UsageError` with the nearest name."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS and not ctx.resilient_parsing:
            raise unknown_command(args[0])
        return super().resolve_command(ctx, args)

    def format_commands(self, _ctx: Any, formatter: Any) -> None:
        """Write the commands in their sections, from the table alone."""
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, COMMANDS[name].summary) for name in names])


def load_command(entry: CommandEntry) -> Any:
    """The command object of an entry, named as the entry is."""
    from importlib import import_module

    target = getattr(import_module(entry.module), entry.attribute)
    if not isinstance(target, typer.Typer):
        application = typer.Typer(rich_markup_mode=None, add_completion=False)
        application.command(entry.name)(target)
        target = application
    command = get_command(target)
    command.name = entry.name
    _let_be_verbose(command)
    return command


def _let_be_verbose(command: Any) -> None:
    """Give a command, and those below it, the option `--verbose`, which every command has and none needs to know."""
    command.params.append(_verbose_parameter())
    for below in getattr(command, "commands", {}).values():
        _let_be_verbose(below)


def _verbose_parameter() -> Any:
    """The option as Typer makes it from its declaration; its value goes to the invocation alone."""
    probe = typer.Typer(rich_markup_mode=None, add_completion=False)

    @probe.command()
    def _declare(verbose: VerboseOption = False) -> None:
        """Never called: only its parameter is taken."""

    parameter: Any = next(param for param in get_command(probe).params if param.name == "verbose")
    parameter.expose_value = False
    parameter.callback = _note_verbose
    return parameter


def _note_verbose(_context: Any, _parameter: Any, value: Any) -> Any:
    from quickserveml_tui.cli.front import invocation

    invocation.note(verbose=bool(value))
    return value


def unknown_command(name: str) -> UsageError:
    """The error for a name that no command has."""
    from difflib import get_close_matches

    from quickserveml_tui.core.refs import looks_like_path
    from quickserveml_tui.core.text import safe_text

    shown = safe_text(name, 60)
    if looks_like_path(name):
        hint = f"To look at a file: {PROGRAM} inspect {shown}; to open it in the workbench: {PROGRAM} open {shown}."
    elif near := get_close_matches(name, list(COMMANDS), n=1):
        hint = f"Did you mean “{near[0]}”?"
    else:
        hint = f"{PROGRAM} --help lists the commands."
    return UsageError(f"There is no command “{shown}”.", hint=hint)


def _root(
    context: typer.Context,
    home: HomeOption = "",
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
    version: VersionOption = False,
) -> None:
    from quickserveml_tui.cli.front import invocation

    invocation.note(home=home, as_json=as_json, verbose=verbose)
    if version:
        _print_version()
    elif context.invoked_subcommand is None:
        _open_by_default()


def _print_version() -> None:
    from quickserveml_tui._version import __version__
    from quickserveml_tui.cli.front import invocation

    if invocation.as_json:
        invocation.output.document({"version": __version__})
    else:
        invocation.output.line(f"{PROGRAM} {__version__}")
    raise typer.Exit(0)


def _open_by_default() -> None:
    from quickserveml_tui.cli.screen import open_workbench_screen

    open_workbench_screen()


def build(*, completing: bool = False) -> Any:
    """The application as one command group; `completing` makes it able to answer a shell."""
    application = typer.Typer(
        cls=LazyGroup,
        rich_markup_mode=None,
        add_completion=completing,
        invoke_without_command=True,
        context_settings={"help_option_names": ["--help", "-h"]},
        help="Catalog, inspect, benchmark, batch-test and serve ONNX models.\n\n"
        "Without a command the workbench opens on your own catalog.",
        epilog="A model is a path or a reference: name, name@version, name@label or name@alias. "
        "Exit codes: 0 done, 1 a check failed, 2 usage, 3 bad model or data, 4 store or server unavailable, "
        "5 not permitted, 6 the runtime crashed on the model, 130 interrupted.",
    )
    application.callback()(_root)
    group = get_command(application)
    # With completion Typer adds options that write into the user's shell files; `completion` prints instead.
    group.params = [param for param in group.params if param.name not in ("install_completion", "show_completion")]
    return group


def complete(group: Any, program: str) -> None:
    """Answer a request of the shell for completions and exit, if this is one."""
    group.main(args=[], prog_name=program, complete_var=completion_variable(program))


def invoke(group: Any, arguments: list[str]) -> None:
    """Parse and run; raises whatever the command raises, `typer.Exit` included."""
    with group.make_context(PROGRAM, list(arguments)) as context:
        group.invoke(context)
