"""`servers`: servers of this home that run."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import HomeOption, JsonOption
from quickserveml_tui.core.errors import NotFoundError, UsageError
from quickserveml_tui.core.text import plural
from quickserveml_tui.core.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quickserveml_tui.core.ports import ServersPort
    from quickserveml_tui.core.serving import ServerRecord

application = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="List and stop the servers of this home, and read their logs.",
)
_IdArgument = Annotated[
    str, Argument(metavar="[ID]", help="Id of a server; the only one that runs by default.", show_default=False)
]
_POLL_S = 0.25


@application.command("list")
def list_command(*, home: HomeOption = "", as_json: JsonOption = False) -> None:
    """List the servers of this home that run, newest first."""
    output = invocation.note(home=home, as_json=as_json).output
    with invocation.workbench() as workbench:
        records = workbench.servers.list()
    if output.as_json:
        output.document({"servers": [server_document(record) for record in records]})
        return
    if not records:
        output.line("No server of this home runs.")
        return
    _print(records)


@application.command("stop")
def stop(
    server_id: _IdArgument = "",
    *,
    timeout: Annotated[str, Option("--timeout", metavar="TIME", help="Longest wait for its end.")] = "45s",
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Let a server finish the requests under way and end."""
    output = invocation.note(home=home, as_json=as_json).output
    timeout_s = parse_duration(timeout)
    with invocation.workbench() as workbench:
        chosen = server_id or _only(workbench.servers.list())
        workbench.servers.stop(chosen, timeout_s=timeout_s)
    if output.as_json:
        output.document({"id": chosen, "stopped": True})
    else:
        output.line(f"The server {chosen} has ended.")


@application.command("log")
def log(
    server_id: _IdArgument = "",
    *,
    follow: Annotated[
        bool, Option("--follow", "-f", help="Go on until the server ends or Ctrl-C.", show_default=False)
    ] = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Print what a server that was started in the background logged."""
    output = invocation.note(home=home, as_json=as_json).output
    if follow and output.as_json:
        raise UsageError(
            "--json and --follow exclude each other.", hint="A document ends; a log that is followed grows."
        )
    with invocation.workbench() as workbench:
        servers = workbench.servers
        chosen = server_id or _only(servers.list())
        if output.as_json:
            output.document({"id": chosen, "log": "".join(_parts(servers, chosen, follow=False))})
            return
        try:
            for part in _parts(servers, chosen, follow=follow):
                output.raw(part)
                output.stream.flush()
        except KeyboardInterrupt:
            if not follow:
                raise


def _parts(servers: ServersPort, server_id: str, *, follow: bool) -> Any:
    """The text of a log in parts; with `follow` until the server has ended and all is read."""
    offset, pause = 0, threading.Event()
    while True:
        lives = follow and any(record.id == server_id for record in servers.list())
        text, offset = servers.log(server_id, offset)
        if text:
            yield text
        elif lives:
            pause.wait(_POLL_S)
        else:
            return


def _only(records: Sequence[ServerRecord]) -> str:
    if len(records) == 1:
        return records[0].id
    if not records:
        raise NotFoundError(
            "No server of this home runs.", hint="Start one with `quickserveml serve`.", code="server.none"
        )
    raise UsageError(
        f"{plural(len(records), 'server')} of this home run.",
        hint=f"Name one: {', '.join(record.id for record in records[:4])}.",
        code="usage.which_server",
    )


def server_document(record: ServerRecord) -> dict[str, Any]:
    """A server."""
    from quickserveml_tui.cli.documents import plain

    shown: dict[str, Any] = plain(record)
    for inner in ("boot", "born"):
        shown.pop(inner)
    return shown


def _print(records: Sequence[ServerRecord]) -> None:
    from quickserveml_tui.cli.tables import print_table
    from quickserveml_tui.reports.tables import Column, table

    columns = [
        Column("id", "ID"),
        Column("url", "Address"),
        Column("models", "Models"),
        Column("workers", "Workers", align="right"),
        Column("pid", "PID", align="right", show=str),
        Column("started_at", "Started"),
    ]
    rows = [
        (record.id, record.url, list(record.models), record.workers, record.pid, record.started_at[:19])
        for record in records
    ]
    print_table(invocation.output, table(columns, rows))
