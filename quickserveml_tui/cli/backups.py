"""`backup` and `restore-backup`."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Exit, Option

from quickserveml_tui.cli.diagnostics import warn
from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import HomeOption, JsonOption
from quickserveml_tui.core.errors import CancelledError, ExitCode, UsageError
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.core.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quickserveml_tui.core.care import BackupInfo

_MOST_LINES = 100


def backup(
    folder: Annotated[str, Argument(metavar="FOLDER", help="Folder that holds the backups.", show_default=False)],
    generation: Annotated[
        str, Argument(metavar="[ID]", help="With --verify: only this generation.", show_default=False)
    ] = "",
    *,
    keep: Annotated[
        int | None,
        Option("--keep", metavar="N", help="Remove all but the newest N generations.", show_default=False),
    ] = None,
    list_only: Annotated[bool, Option("--list", help="List the generations; make none.", show_default=False)] = False,
    verify: Annotated[
        bool, Option("--verify", help="Read every byte of the generations; make none.", show_default=False)
    ] = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Keep the whole home as a generation in another folder.

    Files that are in the folder already are not copied again. Exit code 1 says that files of the home or of a
    generation are missing or damaged.
    """
    from quickserveml_tui.cli.work import Narrator, run_cancellable

    invocation.note(home=home, as_json=as_json)
    if list_only and verify:
        raise UsageError("--list and --verify do not go together.", hint="--verify lists what it checks, too.")
    if keep is not None and (list_only or verify):
        raise UsageError("--keep needs a backup to be made.", hint="Leave out --list and --verify.")
    if generation and not verify:
        raise UsageError("A generation is named only to verify it.", hint="Add --verify, or leave out the id.")
    narrator = Narrator(quiet=as_json)
    with invocation.workbench() as workbench:
        backups = workbench.backups
        try:
            if list_only:
                infos: tuple[BackupInfo, ...] = backups.list(folder)
            elif verify:
                infos = run_cancellable(
                    lambda cancel: backups.verify(folder, generation, on_progress=narrator.on_progress, cancel=cancel)
                )
            else:
                infos = (
                    run_cancellable(
                        lambda cancel: backups.create(
                            folder, keep=keep, on_progress=narrator.on_progress, cancel=cancel
                        )
                    ),
                )
        finally:
            narrator.close()
    if list_only or verify:
        _print_list(infos)
    else:
        _print_made(infos[0])
    if any(info.problems for info in infos) and not list_only:
        raise Exit(int(ExitCode.GATE_FAILED))


def restore_backup(
    folder: Annotated[str, Argument(metavar="FOLDER", help="Folder that holds the backups.", show_default=False)],
    *,
    at: Annotated[
        str,
        Option(
            "--at",
            metavar="ID|TIME",
            help="A generation, or the newest at or before a time; the newest by default.",
            show_default=False,
        ),
    ] = "",
    dry_run: Annotated[bool, Option("--dry-run", help="Only say what would change.", show_default=False)] = False,
    yes: Annotated[bool, Option("--yes", "-y", help="Do not ask.", show_default=False)] = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Bring the home back to a kept generation.

    Every byte of it is checked first. What the home holds now is kept as a generation too, so that this can be undone.
    """
    from quickserveml_tui.cli.work import Narrator, run_cancellable

    output = invocation.note(home=home, as_json=as_json).output
    narrator = Narrator(quiet=as_json)
    with invocation.workbench() as workbench:
        try:
            if not dry_run and not yes:
                asked = workbench.backups.restore(folder, at=at, dry_run=True, on_progress=narrator.on_progress)
                _ask(asked)
                at = asked.id  # another backup may have become the newest since
            info = run_cancellable(
                lambda cancel: workbench.backups.restore(
                    folder, at=at, dry_run=dry_run, on_progress=narrator.on_progress, cancel=cancel
                )
            )
        finally:
            narrator.close()
    if output.as_json:
        output.document(backup_document(info) | {"dry_run": dry_run})
    else:
        _print_restored(info, folder, dry_run=dry_run)
    if info.problems:
        raise Exit(int(ExitCode.GATE_FAILED))


def _ask(info: BackupInfo) -> None:
    if invocation.as_json or not sys.stdin.isatty():
        raise UsageError("Restoring a backup replaces what the home holds, so it needs a yes.", hint="Add --yes.")
    for change in info.changes[:_MOST_LINES]:
        sys.stderr.write(f"  {safe_text(change)}\n")
    sys.stderr.write(f"Bring the home back to {info.id}? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CancelledError("Nothing was restored.")


def backup_document(info: BackupInfo) -> dict[str, Any]:
    """The document of a generation."""
    from quickserveml_tui.cli.documents import plain

    document: dict[str, Any] = plain(info)
    for key in ("problems", "changes"):
        document[key] = [safe_text(item, 400) for item in document[key]]
    return document


def _print_made(info: BackupInfo) -> None:
    output = invocation.output
    if output.as_json:
        output.document(backup_document(info))
        return
    output.line(f"{output.style('✓', 'ok')} Generation {output.style(info.id, 'bold')} is kept.")
    output.line(output.style(f"{_held(info)}, {format_bytes(info.new_bytes)} new", "muted"))
    if info.linked:
        warn(f"{plural(info.linked, 'file')} that models reference in place: only path and digest are in the backup.")
    if (invocation.home_path() / "keys.json").exists():
        warn("API keys are secrets and not in the backup: a home that is set up anew needs new ones.")
    _print_problems(info.problems)


def _print_list(infos: Sequence[BackupInfo]) -> None:
    output = invocation.output
    if output.as_json:
        output.document({"generations": [backup_document(info) for info in infos]})
        return
    if not infos:
        output.line("The folder holds no generation yet.")
    for info in infos:
        glyph, role = ("!", "warn") if info.problems else ("✓", "ok")
        output.line(f"{output.style(glyph, role)} {output.style(info.id, 'bold')}  {_held(info)}")
        _print_problems(info.problems)


def _print_restored(info: BackupInfo, folder: str, *, dry_run: bool) -> None:
    from quickserveml_tui.storage.backup_folder import is_id

    output = invocation.output
    for change in info.changes[:_MOST_LINES]:
        output.line(f"  {safe_text(change)}")
    if len(info.changes) > _MOST_LINES:
        output.line(output.style(f"  … and {len(info.changes) - _MOST_LINES:,} more; --json lists all.", "muted"))
    if dry_run:
        output.line(f"This would bring the home to {info.id}: {_held(info)}.")
    else:
        output.line(f"{output.style('✓', 'ok')} The home is as it was in {output.style(info.id, 'bold')}.")
        if info.kept:
            output.line(output.style(f"What it held before is kept: {safe_text(info.kept)}", "muted"))
        if is_id(info.kept):
            undo = f"quickserveml restore-backup {shlex.quote(folder)} --at {info.kept}"
            output.line(output.style(f"Undo: {safe_text(undo, 4_000)}", "muted"))
    _print_problems(info.problems)


def _print_problems(problems: Sequence[str]) -> None:
    for problem in problems[:_MOST_LINES]:
        warn(problem)
    if len(problems) > _MOST_LINES:
        warn(f"… and {len(problems) - _MOST_LINES:,} more; --json lists all.")


def _held(info: BackupInfo) -> str:
    return (
        f"{plural(info.models, 'model')}, {plural(info.versions, 'version')}, {plural(info.runs, 'run')}, "
        f"{plural(info.blobs, 'file')}, {format_bytes(info.size_bytes)}"
    )
