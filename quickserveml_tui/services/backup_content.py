"""What must be so before a generation takes the place of a home: it may have been written by somebody else.

Digests only say that a generation is as it was made; whoever made it can make these fit, too. Texts need no look: every
front shows them as those of any model file.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from quickserveml_tui.core.errors import QuickServeError, StoreError
from quickserveml_tui.core.models import ModelRecord, TrashEntry, VersionRecord
from quickserveml_tui.core.refs import check_name, parse_version
from quickserveml_tui.services.canonical import ContentDigest, digest_of
from quickserveml_tui.storage import backup_folder as layout
from quickserveml_tui.storage.artifact_files import check_relative, is_digest
from quickserveml_tui.storage.backup_folder import Generation
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.state import SqliteState


def fit_content(folder: Path, document: Generation) -> tuple[ContentDigest, tuple[ModelRecord, ...]]:
    """What a generation holds, if a home can hold it.

    Raises `StoreError`: `backup.damaged` for what no home holds, `store.newer_schema`, `store.corrupt`.
    """
    _check_journals(folder, document)
    registry = TinyDbRegistry(folder / layout.REGISTRY, read_only=True)
    state = SqliteState(folder / layout.STATE, read_only=True)
    try:
        for store in (registry, state) if document.registry else (state,):
            problem = store.problem()
            if problem is not None:
                raise StoreError(problem.message, hint=problem.hint, code=problem.code)
        if foreign := state.foreign_parts():
            raise layout.damaged(document.id, "its state database holds what this program never put there", foreign[0])
        found = digest_of(registry, state)
        models = registry.models()
        _check_models(document.id, models, registry.trash())
    finally:
        state.close()
    if found.blobs.keys() - document.blobs.keys() - document.missing.keys():
        raise layout.damaged(document.id, "its description does not name every file that it needs")
    return found, models


def _check_journals(folder: Path, document: Generation) -> None:
    """Refuse files that SQLite would read together with the database, though no digest covers them."""
    for suffix in ("-journal", "-wal", "-shm"):
        if os.path.lexists(folder / f"{layout.STATE}{suffix}"):
            raise layout.damaged(document.id, f"{layout.STATE}{suffix} is no part of it")


def _check_models(generation: str, models: Sequence[ModelRecord], trash: Sequence[TrashEntry]) -> None:
    deleted = [entry.model for entry in trash if entry.model is not None]
    try:
        for model in (*models, *deleted):
            check_name(model.name)
            _check_versions(generation, model.versions)
        for entry in trash:
            check_name(entry.name)
            _check_versions(generation, entry.versions)
    except QuickServeError as error:
        if isinstance(error, StoreError):
            raise
        raise layout.damaged(generation, error.message.rstrip(".")) from error
    for values in ((model.name for model in models), (model.id for model in models), (item.id for item in trash)):
        if _is_any_double(values):
            raise layout.damaged(generation, "two of its models have one name or id")


def _check_versions(generation: str, versions: Iterable[VersionRecord]) -> None:
    """Raises `UsageError`, `ModelError`, `StoreError`."""
    numbers = [version.version for version in versions]
    for number in numbers:
        parse_version(str(number))
    if _is_any_double(map(str, numbers)):
        raise layout.damaged(generation, "two versions of a model have one number")
    for version in versions:
        for file in version.artifact.files:
            check_relative(file.path)
        digests = [version.artifact.digest, *(file.digest for file in version.artifact.files), *version.blobs]
        if not version.artifact.files or not all(map(is_digest, digests)):
            raise layout.damaged(generation, "a version names no file, or a digest that is none")


def _is_any_double(values: Iterable[str]) -> bool:
    return any(count > 1 for count in Counter(values).values())
