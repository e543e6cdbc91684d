"""How a home becomes what a generation holds: verified first, what it held kept first, then switched in one step."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from quickserveml_tui.core.care import BackupInfo
from quickserveml_tui.core.errors import NotFoundError, StoreError, UsageError
from quickserveml_tui.core.jobs import CancelToken, Progress, ProgressSink
from quickserveml_tui.core.models import ModelRecord
from quickserveml_tui.core.stores import ArtifactStore
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.services.backup_content import fit_content
from quickserveml_tui.services.backup_create import Creation, Made, id_of, info_of
from quickserveml_tui.services.backup_verify import verified
from quickserveml_tui.services.canonical import ContentDigest, HomeRegistry, HomeState, digest_of
from quickserveml_tui.storage import backup_folder as layout
from quickserveml_tui.storage import fs, intent
from quickserveml_tui.storage.backup_folder import BackupFolder, Generation
from quickserveml_tui.storage.outputs import check_space
from quickserveml_tui.storage.set_aside import set_stores_aside

MAX_CHANGES = 1_000
_TRIES = 2
"""Attempts that let writers go on while what the home holds is kept."""


@dataclass(frozen=True)
class Before:
    """What the home holds before a restore."""

    content: ContentDigest | None
    """None where it cannot be read."""
    models: tuple[ModelRecord, ...] = ()
    is_empty: bool = False


@dataclass(frozen=True)
class Restore:
    """Brings one home to one generation; the folder's lock is held."""

    home: Path
    registry: HomeRegistry
    artifacts: ArtifactStore
    state: HomeState
    backup: BackupFolder
    document: Generation
    on_progress: ProgressSink
    cancel: CancelToken

    def preview(self) -> BackupInfo:
        """What a restore would change. Raises `StoreError` for a generation that could not be restored."""
        verified(self.backup, self.document, self.on_progress, self.cancel)
        return self._info(look(self.registry, self.state), self._lacking(full=False))

    def run(self, before: Before) -> BackupInfo:
        """Restore; the home is the old or the new one, whatever happens. Raises `StoreError`, `CancelledError`."""
        verified(self.backup, self.document, self.on_progress, self.cancel)
        with self.artifacts.guard("restore"):
            lacking = self._lacking(full=True)
            info = self._info(before, lacking)
            self._bring_blobs(lacking)
            plan = self._stage()
            try:
                kept = self._switch(plan, before)
            finally:
                if not intent.is_pending(self.home):
                    with suppress(OSError):
                        fs.remove_tree(self.home / plan.folder)
        return replace(info, kept=kept)

    # ---- files ------------------------------------------------------------------------------------------------------

    def _lacking(self, *, full: bool) -> dict[str, int]:
        """Blobs that the home lacks, or holds damaged, with their sizes."""
        found = {}
        for digest, size in sorted(self.document.blobs.items()):
            self.cancel.raise_if_cancelled()
            self.on_progress(Progress("looking at the home"))
            if self.artifacts.check(digest, full=full, cancel=self.cancel):
                found[digest] = size
        return found

    def _bring_blobs(self, lacking: dict[str, int]) -> None:
        total = sum(lacking.values())
        check_space(_existing(self.home), total + self.document.documents_bytes, "the restore")
        done, started = 0, time.monotonic()
        for digest, size in lacking.items():
            if self.artifacts.put_file(self.backup.blob(digest), cancel=self.cancel)[0] != digest:
                raise layout.damaged(self.document.id, f"the file {digest[:12]} changed while it was read")
            done += size
            self.on_progress(Progress("copying files", done, total, "B", elapsed_s=time.monotonic() - started))

    def _stage(self) -> intent.Intent:
        """Put registry and state database into a folder of the home, durably."""
        plan = intent.Intent(
            f"{intent.FOLDER_PREFIX}{uuid.uuid4().hex}", self.document.id, bool(self.document.registry)
        )
        folder, source = self.home / plan.folder, self.backup.generations / self.document.id
        try:
            fs.make_private_dir(folder)
            for name, digest in ((layout.REGISTRY, self.document.registry), (layout.STATE, self.document.state)):
                if digest and layout.copy_file(source / name, folder / name, self.cancel) != digest:
                    raise layout.damaged(self.document.id, f"{name} changed while it was read")
            fs.fsync_dir(folder)
            fs.fsync_dir(self.home)
        except BaseException as error:
            with suppress(OSError):
                fs.remove_tree(folder)
            if isinstance(error, OSError):
                raise fs.store_error(error, intent.WHAT) from error
            raise
        return plan

    # ---- the switch -------------------------------------------------------------------------------------------------

    def _switch(self, plan: intent.Intent, before: Before) -> str:
        """Keep what the home holds, then replace it; returns where that is kept.

        Writers are held off only for the switch itself, and a write before it begins this again; after that they wait
        until both is done.
        """
        for _ in range(_TRIES):
            made = self._keep(before)
            self.cancel.raise_if_cancelled()
            with self._held() as switch:
                kept = self._where(made)
                if kept is not None:
                    self._commit(switch, plan)
                    return kept
            if made is not None:
                self.backup.remove([made.document.id])
            before = look(self.registry, self.state)
        with self._held() as switch:
            kept = self._where(self._keep(look(self.registry, self.state))) or ""
            self._commit(switch, plan)
            return kept

    def _keep(self, before: Before) -> Made | None:
        """A generation with what the home holds; none where that is nothing, or cannot be read."""
        if before.is_empty or before.content is None:
            return None
        return Creation(self.registry, self.artifacts, self.state, self.backup, self.on_progress, self.cancel).make()

    @contextmanager
    def _held(self) -> Iterator[intent.Switch]:
        """Hold off everybody who writes to the home."""
        with (
            self.artifacts.publishing(),
            self.registry.replacing() as put_registry,
            self.state.replacing() as put_state,
        ):
            yield intent.Switch(self.home, put_registry, put_state)

    def _where(self, made: Made | None) -> str | None:
        """Where it is kept what the home holds now; None when it holds something that is kept nowhere."""
        if made is not None:
            is_same = (self.registry.generation(), self.state.generation()) == made.tokens
            return made.document.id if is_same else None
        now = look(self.registry, self.state)
        if now.is_empty:
            return ""
        return ", ".join(set_stores_aside(self.home)) if now.content is None else None

    def _commit(self, switch: intent.Switch, plan: intent.Intent) -> None:
        try:
            switch.begin(plan)
            switch.finish(plan)
        except StoreError as error:
            if not intent.is_pending(self.home):
                raise
            raise StoreError(
                f"The restore is decided, but could not be finished: {error.message}",
                hint="The next command on this home finishes it.",
                code="restore.pending",
                detail=error.detail,
            ) from error

    # ---- what changes -----------------------------------------------------------------------------------------------

    def _info(self, before: Before, lacking: dict[str, int]) -> BackupInfo:
        after = look_at_generation(self.backup, self.document)
        return replace(
            info_of(self.document, problems=tuple(self.document.missing.values())),
            new_bytes=sum(lacking.values()) + self.document.documents_bytes,
            changes=tuple(_changes(before, after))[:MAX_CHANGES],
        )


def look(registry: HomeRegistry, state: HomeState) -> Before:
    """What a home holds; unreadable where a store is damaged or of a newer schema. Raises `StoreError` otherwise."""
    try:
        problems = [problem for problem in (registry.problem(), state.problem()) if problem is not None]
        for problem in problems:
            if problem.code in _UNREADABLE:
                return Before(None)
            if problem.code != "store.read_only":
                raise StoreError(problem.message, hint=problem.hint, code=problem.code)
        content = digest_of(registry, state)
    except StoreError as error:
        if error.code in _UNREADABLE:
            return Before(None)
        raise
    is_empty = not content.count and not registry.trash() and not state.jobs(limit=1)
    return Before(content, registry.models(), is_empty)


_UNREADABLE = ("store.corrupt", "store.gone", "store.newer_schema")


def look_at_generation(backup: BackupFolder, document: Generation) -> Before:
    """What a generation holds. Raises `StoreError` for what may not become a home."""
    return Before(*fit_content(backup.generations / document.id, document))


def _changes(before: Before, after: Before) -> Iterable[str]:
    if before.content is None:
        yield "replaces what cannot be read"
        return
    old = {model.id: model for model in before.models}
    new = {model.id: model for model in after.models}
    for model_id, model in new.items():
        if model_id not in old:
            yield f"adds {model.name} ({plural(len(model.versions), 'version')})"
        elif old[model_id] != model:
            yield f"changes {model.name}"
    for model_id, model in old.items():
        if model_id not in new:
            yield f"removes {model.name} ({plural(len(model.versions), 'version')})"
    if after.content is not None and after.content.runs != before.content.runs:
        yield f"{plural(after.content.runs, 'benchmark run')} instead of {before.content.runs:,}"


def choose(backup: BackupFolder, at: str) -> str:
    """Id of the generation that `at` means: empty the newest, an id, or a time.

    Raises `NotFoundError` (`backup.not_found`) where there is none, `UsageError` (`usage.time`) for what is neither.
    """
    ids = backup.ids()
    if not ids:
        raise NotFoundError(
            "The backup folder holds no generation.",
            hint="`quickserveml backup FOLDER` makes one.",
            code="backup.not_found",
        )
    if not at:
        return ids[0]
    if layout.is_id(at):
        limit, is_exact = at, True
    else:
        limit, is_exact = id_of(_parse_time(at)), False
    found = next((item for item in ids if item <= limit), "")
    if not found or (is_exact and found != at):
        raise NotFoundError(
            f"There is no generation {'' if is_exact else 'at or before '}{safe_text(at, 60)}.",
            hint=f"The oldest is {ids[-1]}, the newest {ids[0]}.",
            code="backup.not_found",
        )
    return found


def _parse_time(text: str) -> datetime:
    """A time in UTC; a date alone means its last moment. Raises `UsageError` (`usage.time`)."""
    try:
        if not text.isascii():
            raise ValueError(text)
        moment = datetime.fromisoformat(text.strip())
        if len(text.strip()) <= len("2026-11-23"):
            moment += timedelta(days=1, milliseconds=-1)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"“{safe_text(text, 60)}” is neither a generation nor a time.",
            hint="Write an id that `backup FOLDER --list` shows, or a time like 2026-11-23T10:15 (UTC).",
            code="usage.time",
        ) from error


def _existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
