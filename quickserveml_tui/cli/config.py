"""`config show`, `get`, `set`, `path` and `schema`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import HomeOption, JsonOption
from quickserveml_tui.core.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

application = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Show and change settings.\n\n"
    "Strongest first: options, QSML_… variables, quickserveml.toml of the project, the user's file, defaults.",
)
_KeyArgument = Annotated[str, Argument(metavar="KEY", help="Setting, such as serve.port.", show_default=False)]


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


@application.command("show")
def show(home: HomeOption = "", as_json: JsonOption = False) -> None:
    """Print every setting with its value and where that came from."""
    from quickserveml_tui.cli.tables import print_table
    from quickserveml_tui.reports.tables import Column, table

    output = invocation.note(home=home, as_json=as_json).output
    loaded = invocation.loaded
    if output.as_json:
        settings = {key: {"value": value, "source": loaded.source_of(key)} for key, value in loaded.values().items()}
        output.document({"settings": settings, "home": str(loaded.home_path())})
        return
    columns = (Column("key", "Setting"), Column("value", "Value", show=_shown), Column("source", "Source"))
    print_table(output, table(columns, [(key, value, loaded.source_of(key)) for key, value in loaded.values().items()]))
    output.line()
    output.line(f"{output.style('home in use', 'muted')}  {loaded.home_path()}")


@application.command("get")
def get(key: _KeyArgument, home: HomeOption = "", as_json: JsonOption = False) -> None:
    """Print the value of one setting."""
    from quickserveml_tui.config.keys import check_key

    output = invocation.note(home=home, as_json=as_json).output
    check_key(key, "command line")
    loaded = invocation.loaded
    value = loaded.values().get(key)
    if output.as_json:
        output.document({"key": key, "value": value, "source": loaded.source_of(key)})
    else:
        output.line(value if isinstance(value, str) else _shown(value))


@application.command("set")
def set_value(
    key: _KeyArgument,
    value: Annotated[str, Argument(metavar="VALUE", help="Its value.", show_default=False)],
    project: Annotated[
        bool, Option("--project", help="Set it in the project's file, not in the user's.", show_default=False)
    ] = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Set a value in the user's or the project's settings file."""
    from quickserveml_tui.config.edit import set_value as edited
    from quickserveml_tui.config.files import read_text, write_text
    from quickserveml_tui.config.keys import check_key
    from quickserveml_tui.config.load import LoadedSettings, validate

    output = invocation.note(home=home, as_json=as_json).output
    check_key(key, "command line")
    path = _file_to_change(project=project)
    typed = LoadedSettings(validate({key: value}, {key: "command line"})).values()[key]
    before = read_text(path) if path.exists() else ""
    write_text(path, edited(before, key, typed))
    if output.as_json:
        output.document({"key": key, "value": typed, "path": str(path)})
    else:
        output.line(f"{key} = {_shown(typed)} in {path}.")


def _file_to_change(*, project: bool) -> Path:
    from pathlib import Path

    from quickserveml_tui.config.files import PROJECT_NAMES, project_file, user_file

    if not project:
        return user_file()
    path = project_file() or Path.cwd() / PROJECT_NAMES[0]
    if path.suffix != ".toml":
        raise UsageError(
            f"Only TOML files can be changed, and this project has {path.name}.", hint="Change it with an editor."
        )
    return path


@application.command("path")
def path_command(home: HomeOption = "", as_json: JsonOption = False) -> None:
    """Print where settings and data are."""
    from quickserveml_tui.config.files import project_file, user_file

    output = invocation.note(home=home, as_json=as_json).output
    user, project = user_file(), project_file()
    if output.as_json:
        output.document(
            {
                "user": str(user),
                "user_exists": user.exists(),
                "project": str(project) if project else None,
                "home": str(invocation.home_path()),
            }
        )
        return
    output.pairs(
        [
            ("User", f"{user}" + ("" if user.exists() else "  (not there)")),
            ("Project", str(project) if project else "no quickserveml.toml here"),
            ("Home", str(invocation.home_path())),
        ]
    )


@application.command("schema")
def schema(home: HomeOption = "", as_json: JsonOption = False) -> None:
    """Print the JSON Schema of a settings file."""
    from quickserveml_tui.config.load import json_schema

    output = invocation.note(home=home, as_json=as_json).output
    if output.as_json:
        output.document(json_schema())
    else:
        output.raw(json.dumps(json_schema(), ensure_ascii=False, indent=2) + "\n")
