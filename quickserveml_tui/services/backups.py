"""Keep generations of the whole home in another folder, and bring the home back to one."""

from __future__ import annotations

import os
from pathlib import Path

from quickserveml_tui.core.care import BackupInfo
from quickserveml_tui.core.errors import OPEN_FOR_WRITING, NotFoundError, ReadOnlyError, StoreError, UsageError
from quickserveml_tui.core.jobs import CancelToken, ProgressSink, ignore_progress
from quickserveml_tui.core.stores import ArtifactStore
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.services.backup_create import Creation, info_of, prune
from quickserveml_tui.services.backup_restore import Restore, choose, look
from quickserveml_tui.services.backup_verify import Verifier
from quickserveml_tui.services.canonical import HomeRegistry, HomeState, digest_of
from quickserveml_tui.services.paths import user_path
from quickserveml_tui.storage import fs, intent
from quickserveml_tui.storage.backup_folder import WHAT, BackupFolder, is_id
from quickserveml_tui.storage.backup_places import check_backup, check_plain

MAX_KEEP = 100_000


class BackupService:
    """`BackupPort` on the stores of a home."""

    def __init__(
        self,
        home: Path,
        registry: HomeRegistry,
        artifacts: ArtifactStore,
        state: HomeState,
        *,
        read_only: bool = False,
    ) -> None:
        self._home = home
        self._read_only = read_only
        self._registry = registry
        self._artifacts = artifacts
        self._state = state

    def create(
        self,
        folder: str,
        *,
        keep: int | None = None,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> BackupInfo:
        """Add a generation; blobs that are there already are not copied. `keep` removes all but the newest.

        Files that the home lacks or holds damaged are named in `problems`; the backup is made all the same. It is
        durable and visible before anything older goes. Raises `UsageError` (`usage.path`, `usage.keep`,
        `backup.link`), `ConflictError` (`backup.foreign`), `StoreError` (`store.…`).
        """
        if keep is not None and not 1 <= keep <= MAX_KEEP:
            raise UsageError(
                f"{keep:,} generations cannot be kept.", hint=f"Keep 1 to {MAX_KEEP:,}.", code="usage.keep"
            )
        backup = BackupFolder(self._folder(folder, create=True))
        with backup.locked(to_write=True):
            backup.prepare()
            with self._artifacts.guard("backup"):
                creation = Creation(
                    self._registry, self._artifacts, self._state, backup, on_progress, cancel or CancelToken()
                )
                made = creation.make()
            problems = made.problems
            if keep is not None:
                problems += prune(backup, keep)
        return info_of(made.document, problems=problems)

    def list(self, folder: str) -> tuple[BackupInfo, ...]:
        """Generations, newest first; one whose description cannot be read says so in `problems`."""
        backup = self._existing(folder)
        return tuple(_info(backup, generation) for generation in backup.ids())

    def verify(
        self,
        folder: str,
        generation: str = "",
        *,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> tuple[BackupInfo, ...]:
        """Read every byte of one generation, or of all; problems stand in the infos.

        A damaged file is set aside, so that the next backup brings it again. Raises `NotFoundError`
        (`backup.not_found`).
        """
        backup = self._existing(folder)
        with backup.locked(to_write=False):
            ids = backup.ids()
            if generation and (not is_id(generation) or generation not in ids):
                raise NotFoundError(
                    f"There is no generation {safe_text(generation, 60)}.",
                    hint="`backup FOLDER --list` shows what there is.",
                    code="backup.not_found",
                )
            verifier = Verifier(backup, on_progress, cancel or CancelToken())
            return tuple(_info(backup, item, verifier) for item in ([generation] if generation else ids))

    def restore(
        self,
        folder: str,
        *,
        at: str = "",
        dry_run: bool = False,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> BackupInfo:
        """Bring the home to a generation: the newest, that with the id `at`, or the newest at or before a time `at`.

        Every byte of it is verified first. What the home held before is kept as a generation of its own, named in
        `kept`, so that this can be undone; stores that cannot be read are kept beside the new ones instead. Raises
        `NotFoundError` (`backup.not_found`), `UsageError` (`usage.time`), `StoreError` (`backup.damaged`, `store.…`;
        `restore.pending` when the next command finishes it).
        """
        backup = BackupFolder(self._folder(folder, create=False))
        check_backup(backup.root)
        token = cancel or CancelToken()
        if dry_run:
            with backup.locked(to_write=False):
                return self._restore(backup, at, on_progress, token).preview()
        if self._read_only:
            raise ReadOnlyError("This home was opened for reading only; nothing was restored.", hint=OPEN_FOR_WRITING)
        try:
            fs.make_private_dir(self._home)
        except OSError as error:
            raise fs.store_error(error, "home") from error
        intent.finish_restore(self._home)
        with fs.locked(self._home / intent.LOCK, intent.WHAT):
            intent.remove_leftovers(self._home)
            before = look(self._registry, self._state)
            is_kept = before.content is not None and not before.is_empty
            with backup.locked(to_write=is_kept):
                if is_kept:
                    backup.prepare()
                return self._restore(backup, at, on_progress, token).run(before)

    def content_digest(self) -> str:
        """Canonical digest of what the home holds now; see `docs/backup.md`."""
        return digest_of(self._registry, self._state).hexdigest()

    def _restore(self, backup: BackupFolder, at: str, on_progress: ProgressSink, cancel: CancelToken) -> Restore:
        document = backup.read(choose(backup, at))
        return Restore(self._home, self._registry, self._artifacts, self._state, backup, document, on_progress, cancel)

    def _existing(self, folder: str) -> BackupFolder:
        backup = BackupFolder(self._folder(folder, create=False))
        check_backup(backup.root)
        return backup

    def _folder(self, folder: str, *, create: bool) -> Path:
        """The backup folder that a user means, links on the way to it followed.

        Raises `UsageError` (`usage.path`) for one inside the home or around it.
        """
        given = user_path(folder)
        try:
            root = given.parent.resolve(strict=True) / given.name
            home = self._home.resolve()
            inner = root.resolve()
        except (OSError, RuntimeError) as error:
            raise UsageError(
                f"There is no folder for “{safe_text(given.name, 80)}”.",
                hint="Create the folder that it lies in first.",
                code="usage.path",
            ) from error
        if not given.name or inner == home or inner.is_relative_to(home) or home.is_relative_to(inner):
            raise UsageError(
                "A backup lies neither inside the home nor around it.",
                hint="Choose a folder elsewhere, best on another disk.",
                code="usage.path",
            )
        if create and not os.path.lexists(root):
            try:
                fs.make_private_dir(root)
            except OSError as error:
                raise fs.store_error(error, WHAT) from error
        check_plain(root)
        return root


def _info(backup: BackupFolder, generation: str, verifier: Verifier | None = None) -> BackupInfo:
    try:
        document = backup.read(generation)
    except StoreError as error:
        return BackupInfo(generation, "", 0, 0, 0, 0, 0, "", problems=(error.message,))
    problems = tuple(document.missing.values())
    return info_of(document, problems=problems + (verifier.check(document) if verifier else ()))
