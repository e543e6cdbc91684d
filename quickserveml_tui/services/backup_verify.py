"""Reading every byte of a generation."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.jobs import CancelToken, Progress, ProgressSink
from quickserveml_tui.storage import backup_folder as layout
from quickserveml_tui.storage.backup_folder import BackupFolder, Generation, SourceError


class Verifier:
    """Checks generations of one folder; a blob that several need is read once."""

    def __init__(self, backup: BackupFolder, on_progress: ProgressSink, cancel: CancelToken) -> None:
        self._backup = backup
        self._on_progress = on_progress
        self._cancel = cancel
        self._checked: dict[str, str] = {}
        self._done = 0
        self._started = time.monotonic()

    def check(self, document: Generation) -> tuple[str, ...]:
        """What is wrong with a generation, a sentence each; without what its home lacked when it was made."""
        found = list(self.check_documents(document))
        total = sum(document.blobs.values())
        self._done = 0
        for digest, size in sorted(document.blobs.items()):
            problem = self._check_blob(digest)
            if problem:
                found.append(f"The file {digest[:12]} of the generation {document.id} {problem}.")
            self._done += size
            elapsed = time.monotonic() - self._started
            self._on_progress(Progress("verifying", self._done, total, "B", elapsed_s=elapsed))
        return tuple(found)

    def check_documents(self, document: Generation) -> tuple[str, ...]:
        """What is wrong with registry, state database and description of a generation."""
        found = []
        folder = self._backup.generations / document.id
        for name, digest in ((layout.REGISTRY, document.registry), (layout.STATE, document.state)):
            if digest and self._hash(folder / name) != digest:
                found.append(f"{name} of the generation {document.id} is missing or damaged.")
        try:
            own = hashlib.sha256(self._backup.read_file(document.id, layout.DOCUMENT)).hexdigest()
            is_whole = self._backup.read_file(document.id, layout.SUMS) == layout.sums_of(document, own)
        except OSError:
            is_whole = False
        if not is_whole:
            found.append(f"The description of the generation {document.id} does not fit its digests.")
        return tuple(found)

    def _check_blob(self, digest: str) -> str:
        if digest not in self._checked:
            self._checked[digest] = self._read_blob(digest)
        return self._checked[digest]

    def _read_blob(self, digest: str) -> str:
        try:
            is_whole = layout.hash_file(self._backup.blob(digest), self._cancel)[0] == digest
        except FileNotFoundError:
            return "is missing"
        except (SourceError, OSError):
            return "cannot be read"
        if is_whole:
            return ""
        self._backup.set_aside(digest)
        return "is damaged; the next backup brings it again if the home has it"

    def _hash(self, path: Path) -> str:
        try:
            return layout.hash_file(path, self._cancel)[0]
        except OSError:
            return ""


def verified(backup: BackupFolder, document: Generation, on_progress: ProgressSink, cancel: CancelToken) -> None:
    """Raise `StoreError` (`backup.damaged`) unless every byte of a generation is as it was written."""
    problems = Verifier(backup, on_progress, cancel).check(document)
    if problems:
        more = f" and {len(problems) - 1:,} more" if len(problems) > 1 else ""
        raise StoreError(
            f"Nothing was restored, because the generation is damaged: {problems[0].rstrip('.')}{more}.",
            hint="Choose another generation; `backup FOLDER --verify` says which are whole.",
            code="backup.damaged",
            detail="\n".join(problems)[:2000],
        )
