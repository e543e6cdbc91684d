"""`keys`: who may use the servers of this home."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import HomeOption, JsonOption
from quickserveml_tui.core.access import SCOPES, Permission, RateLimit
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.core.units import parse_age, plain_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quickserveml_tui.cli.output import Output
    from quickserveml_tui.core.access import ApiKey, CreatedKey

application = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Make, rotate and revoke the API keys of this home's servers.",
)
_KeyArgument = Annotated[str, Argument(metavar="KEY", help="Id or name of a key.", show_default=False)]
_QuietOption = Annotated[
    bool, Option("--quiet", "-q", help="Print the text of the key and nothing else.", show_default=False)
]
_RATE = re.compile(r"(\d{1,7}(?:\.\d{1,6})?)(?:/(s|m|h))?", re.ASCII)
_RATE_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


@application.command("create")
def create(
    name: Annotated[str, Argument(metavar="NAME", help="What or whom the key is for.", show_default=False)],
    *,
    scope: Annotated[
        list[str] | None,
        Option(
            "--scope",
            metavar="SCOPE",
            help=f"What it may do: {', '.join(SCOPES)}; repeat it for more.",
            show_default="infer",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        Option(
            "--model",
            metavar="PATTERN",
            help="Models that it reaches, such as resnet*; all by default.",
            show_default=False,
        ),
    ] = None,
    rate: Annotated[
        str, Option("--rate", metavar="N/s", help="Requests per second (/s), minute (/m) or hour (/h).")
    ] = "",
    burst: Annotated[
        int, Option("--burst", metavar="N", help="Requests at once; one second's worth by default.", show_default=False)
    ] = 0,
    per_day: Annotated[
        int, Option("--per-day", metavar="N", help="Requests of a day (UTC); 0 is no limit.", show_default=False)
    ] = 0,
    expires: Annotated[
        str, Option("--expires", metavar="TIME", help="How long it lives, such as 90d or 12h.", show_default=False)
    ] = "",
    note: Annotated[str, Option("--note", metavar="TEXT", help="Notes on it.", show_default=False)] = "",
    quiet: _QuietOption = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Make a key and print its text, once.

    Only a digest of it is kept: nobody can print it again. Servers of this home know it within a second.
    """
    output = invocation.note(home=home, as_json=as_json).output
    limit = RateLimit(_rate(rate), burst, per_day)
    with invocation.workbench() as workbench:
        created = workbench.keys.create(
            name,
            scopes=[_scope(item) for item in scope] if scope else (Permission.INFER,),
            models=model or (),
            limit=limit,
            expires_in_s=parse_age(expires) if expires else None,
            note=note,
        )
    _print_created(output, created, quiet=quiet)


@application.command("list")
def list_command(
    *,
    every: Annotated[bool, Option("--all", help="Also those that are revoked.", show_default=False)] = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """List the keys."""
    output = invocation.note(home=home, as_json=as_json).output
    with invocation.workbench() as workbench:
        found = workbench.keys.list(include_revoked=every)
        damaged = workbench.keys.damaged()
    if output.as_json:
        records = [{"id": item.id, "name": item.name, "detail": item.detail} for item in damaged]
        output.document({"keys": [key_document(item) for item in found], "total": len(found), "damaged": records})
        return
    _print_keys(output, found)
    for item in damaged:
        sys.stderr.write(f"The record of key {safe_text(item.label)} is damaged, and opens nothing: {item.detail}\n")
    if damaged:
        sys.stderr.write("Mend or delete it in keys.json, or create a new key in its place.\n")


def _print_keys(output: Output, found: Sequence[ApiKey]) -> None:
    if not found:
        output.line("There are no keys; quickserveml keys create NAME makes one.")
    else:
        rows = [("NAME", "ID", "SCOPES", "MODELS", "LIMIT", "STATE")] + [_row(item) for item in found]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for number, row in enumerate(rows):
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            output.line(output.style(line, "muted") if number == 0 else line)


@application.command("show")
def show(key: _KeyArgument, *, home: HomeOption = "", as_json: JsonOption = False) -> None:
    """Show a key: all but its text."""
    output = invocation.note(home=home, as_json=as_json).output
    with invocation.workbench() as workbench:
        found = workbench.keys.get(key)
    if output.as_json:
        output.document(key_document(found))
    else:
        _print_key(output, found)


@application.command("rotate")
def rotate(
    key: _KeyArgument,
    *,
    overlap: Annotated[
        str, Option("--overlap", metavar="TIME", help="How long the old key works on, such as 1d; 0 ends it at once.")
    ] = "1d",
    quiet: _QuietOption = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Make a key in the place of another one, and let the old one run out."""
    output = invocation.note(home=home, as_json=as_json).output
    overlap_s = 0.0 if overlap.strip() in ("0", "0s") else parse_age(overlap)
    with invocation.workbench() as workbench:
        created = workbench.keys.rotate(key, overlap_s=overlap_s)
    _print_created(output, created, quiet=quiet)


@application.command("revoke")
def revoke(key: _KeyArgument, *, home: HomeOption = "", as_json: JsonOption = False) -> None:
    """End a key at once: the one with that id, or all of that name."""
    output = invocation.note(home=home, as_json=as_json).output
    with invocation.workbench() as workbench:
        found = workbench.keys.revoke(key)
    if output.as_json:
        output.document(key_document(found))
    else:
        output.line(f"{output.style('✓', 'ok')} Revoked {output.style(found.name, 'bold')} ({found.id}).")


def key_document(key: ApiKey) -> dict[str, Any]:
    """A key as the commands print it: nothing of its secret, not even the digest."""
    from quickserveml_tui.cli.documents import plain

    document: dict[str, Any] = plain(key)
    del document["secret_sha256"]
    return document | {"state": _state(key)}


def _print_created(output: Output, created: CreatedKey, *, quiet: bool) -> None:
    if output.as_json:
        output.document(key_document(created.key) | {"text": created.text})
        return
    output.line(created.text)
    if not quiet:  # on stderr: stdout holds the key alone, so it can go straight into a file or another program
        key = created.key
        until = f", until {key.expires_at}" if key.expires_at else ""
        sys.stderr.write(f"The key {safe_text(key.name)} ({key.id}) may {', '.join(key.scopes)}{until}.\n")
        sys.stderr.write("Keep it safe: it cannot be printed again. Send it as “Authorization: Bearer KEY”.\n")


def _print_key(output: Output, key: ApiKey) -> None:
    output.heading(key.name)
    output.pairs(
        [
            ("Id", key.id),
            ("State", _state(key)),
            ("Scopes", ", ".join(key.scopes)),
            ("Models", ", ".join(key.models) or "all"),
            ("Limit", _limit(key.limit)),
            ("Created", key.created_at),
            ("Expires", key.expires_at or "never"),
            ("Revoked", key.revoked_at),
            ("Replaced by", key.replaced_by),
            ("Note", key.note),
        ]
    )


def _row(key: ApiKey) -> tuple[str, ...]:
    models = ", ".join(key.models) or "all"
    return key.name, key.id, ", ".join(key.scopes), safe_text(models, 40), _limit(key.limit), _state(key)


def _state(key: ApiKey) -> str:
    import time

    from quickserveml_tui.services.api_keys import has_expired

    if key.revoked_at:
        return "revoked"
    if has_expired(key, time.time()):
        return "expired"
    return "ending" if key.replaced_by else "active"


def _limit(limit: RateLimit) -> str:
    parts = []
    if limit.per_second:
        parts.append(f"{plain_number(limit.per_second)}/s")
    if limit.burst:
        parts.append(f"{plural(limit.burst, 'request')} at once")
    if limit.per_day:
        parts.append(f"{limit.per_day:,}/day")
    return ", ".join(parts) or "none"


def _rate(text: str) -> float:
    if not text:
        return 0.0
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"“{safe_text(text, 40)}” is not a rate.", hint="Write it like 50/s, 600/m or 1000/h.", code="usage.rate"
        )
    return float(match[1]) / _RATE_UNITS[match[2]]


def _scope(text: str) -> Permission:
    wanted = text.strip().lower()
    if wanted not in SCOPES:
        raise UsageError(
            f"“{safe_text(text, 40)}” is not a scope.", hint=f"Scopes: {', '.join(SCOPES)}.", code="key.scope"
        )
    return Permission(wanted)
