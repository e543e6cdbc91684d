"""Why the registry cannot be written, or not even read, in sentences."""

from __future__ import annotations

import os
from pathlib import Path

from quickserveml_tui.core.care import StoreProblem
from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.units import format_bytes
from quickserveml_tui.storage.registry_schema import SCHEMA, WHAT

REPAIR = "quickserveml fsck --repair"
GONE = "store.gone"
"""Code of a file that is missing although it was written once."""
_REPAIR_HINT = f"`{REPAIR}` mends it and keeps the damaged file."


def problem_of(error: StoreError) -> StoreProblem:
    """The problem that an error of reading tells of."""
    command = REPAIR if error.code == "store.corrupt" else ""
    return StoreProblem(WHAT, error.code, error.message, _REPAIR_HINT if command else error.hint, command)


def error_of(problem: StoreProblem) -> StoreError:
    """The error with which a write is refused."""
    return StoreError(problem.message, hint=problem.hint, code=problem.code)


def shown_problem(code: str, generation: str) -> StoreProblem:
    """The file is damaged (`store.corrupt`) or gone (`store.gone`), and an older one is shown."""
    is_gone = code == GONE
    what = "registry.json is gone" if is_gone else "The registry is damaged"
    return StoreProblem(
        WHAT,
        code,
        f"{what}: the kept generation {generation} is shown instead, and nothing can be changed.",
        f"`{REPAIR}` puts the generation in its place." if is_gone else _REPAIR_HINT,
        REPAIR,
    )


def newer_problem(schema: int) -> StoreProblem:
    """The file can be read, but was written by a newer program."""
    return StoreProblem(
        WHAT,
        "store.newer_schema",
        f"The registry was written by a newer version of this program (schema {schema}, this one knows {SCHEMA}): "
        "it can be read, but not changed.",
        "Upgrade quickserveml-tui to change it.",
    )


def folder_problem(folder: Path, lock: Path) -> StoreProblem | None:
    """Whether the folder, or the nearest one above that is there, may be written."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if os.access(folder, os.W_OK | os.X_OK) and (not lock.exists() or os.access(lock, os.W_OK)):
        return None
    return StoreProblem(
        WHAT,
        "store.read_only",
        "The registry can only be read: its folder may not be written.",
        "Check who owns the home folder and whether its file system is mounted for writing, or choose another with "
        "--home.",
    )


def too_large(size_bytes: int, limit_bytes: int) -> StoreError:
    """The file would become too large to be read again."""
    return StoreError(
        f"The registry is full: its file would take {format_bytes(size_bytes)} of at most {format_bytes(limit_bytes)}.",
        hint="Delete versions that are no longer needed and purge the trash, or begin another home with --home.",
        code="registry.full",
    )


def gone() -> StoreError:
    """The file is missing although generations of it are kept, and none of them can be read."""
    return StoreError(
        "registry.json is gone, and no kept generation of it is whole.",
        hint="Restore a backup with `quickserveml restore-backup`, or move the folder backups away to start with an "
        "empty one.",
        code=GONE,
    )


def hopeless() -> StoreError:
    """Nothing can be read of the file, and no generation is kept."""
    return StoreError(
        "Nothing could be read from the damaged registry, and no kept generation is whole; it was left as it is.",
        hint="Restore a backup with `quickserveml restore-backup`, or move the file away to start with an empty one.",
        code="store.corrupt",
    )
