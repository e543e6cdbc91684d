"""Whether the files that models and runs need are there and whole."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from quickserveml_tui.core.care import CheckFinding, Severity
from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.core.jobs import CancelToken, Progress, ProgressSink
from quickserveml_tui.core.models import ArtifactManifest, FileEntry, ModelRecord, TrashEntry, VersionRecord
from quickserveml_tui.core.stores import ArtifactStore, StateStore
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.storage.artifacts import check_relative, file_digest

ADD_AGAIN = "Add the model file again; an equal file takes its place."


class BlobCheck:
    """One check of all blobs, each looked at once however many versions share it."""

    def __init__(
        self,
        home: Path,
        artifacts: ArtifactStore,
        *,
        full: bool,
        repair: bool,
        on_progress: ProgressSink,
        cancel: CancelToken,
    ) -> None:
        self._home = home
        self._artifacts = artifacts
        self._full = full
        self._repair = repair
        self._on_progress = on_progress
        self._cancel = cancel
        self._verdicts: dict[str, str] = {}
        self._started = time.monotonic()
        self._sizes: dict[str, int] = {}
        self.bytes_read = 0

    @property
    def count(self) -> int:
        """Blobs looked at."""
        return len(self._verdicts)

    def run(self, models: Sequence[ModelRecord], trash: Sequence[TrashEntry], state: StateStore) -> list[CheckFinding]:
        """Everything that is wrong with the blobs of models, trash and runs, and how much nothing needs."""
        self._sizes = {blob.digest: blob.size_bytes for blob in self._artifacts.blobs()}
        owners = [(f"{model.name}@{version.version}", version) for model in models for version in model.versions]
        owners += [(f"{entry.title} in the trash", version) for entry in trash for version in entry.versions]
        findings: list[CheckFinding] = []
        needed: set[str] = set()
        for done, (title, version) in enumerate(owners):
            self._cancel.raise_if_cancelled()
            self._on_progress(
                Progress("checking files", done, len(owners), "versions", elapsed_s=time.monotonic() - self._started)
            )
            needed |= version.blobs
            findings += self._version(safe_text(title, 120), version)
        try:
            before = _leased(state)  # and after: a lease may come or go in between
            blobs = state.blobs()
            leased = before | _leased(state)
        except QuickServeError:  # the check of the state database has said so; what nothing needs is then not known
            return findings
        findings += self._samples(blobs - leased)  # a lease also names whole artifacts, which are no blobs
        findings += self._strays(needed | blobs)
        return findings

    def _version(self, title: str, version: VersionRecord) -> Iterator[CheckFinding]:
        for file in version.artifact.files:
            if file.link is not None:
                yield from self._linked(title, file)
            else:
                yield from self._stored(title, version.artifact, file)
        for digest in sorted(version.blobs - version.artifact.blobs):
            verdict = self._verdict(digest)
            if verdict:
                yield _finding(
                    f"blob.{verdict}", title, f"A golden output of {title} is {verdict}.", "Record it again."
                )

    def _stored(self, title: str, manifest: ArtifactManifest, file: FileEntry) -> Iterator[CheckFinding]:
        verdict = self._verdict(file.digest)
        if not verdict and self._sizes.get(file.digest, file.size_bytes) != file.size_bytes:
            verdict = self._verdicts[file.digest] = "damaged"
        if not verdict:
            return
        name = safe_text(file.path, 80)
        if self._repair and self._heal(manifest, file):
            self._verdicts[file.digest] = ""
            text = f"{name} of {title} was {verdict}; the copy in the model cache took its place."
            yield CheckFinding("artifacts", f"blob.{verdict}", Severity.ERROR, title, text, repaired=True)
            return
        yield _finding(f"blob.{verdict}", title, f"{name} of {title} is {verdict}.", ADD_AGAIN)

    def _heal(self, manifest: ArtifactManifest, file: FileEntry) -> bool:
        """Put the cache's copy in the place of a blob, if it is equal to what the blob was."""
        try:
            copy = self._home / "cache" / manifest.digest / check_relative(file.path)
            if file_digest(copy, cancel=self._cancel)[0] != file.digest:
                return False
            return self._artifacts.put_file(copy, cancel=self._cancel)[0] == file.digest
        except QuickServeError:
            return False

    def _linked(self, title: str, file: FileEntry) -> Iterator[CheckFinding]:
        is_well = not self._full and _looks_the_same(file)
        if not is_well:  # who opens it would read it too before saying that it is another
            is_well = not self._artifacts.verify(ArtifactManifest(file.digest, (file,)))
            self.bytes_read += file.size_bytes
        if not is_well:
            yield _finding(
                "link.changed",
                title,
                f"{safe_text(file.path, 80)} of {title}, which is referenced in place, is gone or was changed.",
                "Put the file back, or add it again as the next version.",
            )

    def _verdict(self, digest: str) -> str:
        known = self._verdicts.get(digest)
        if known is None:
            known = self._artifacts.check(digest, full=self._full, cancel=self._cancel)
            self._verdicts[digest] = known
            if self._full:
                self.bytes_read += self._sizes.get(digest, 0)
        return known

    def _samples(self, digests: frozenset[str]) -> Iterator[CheckFinding]:
        wrong = [digest for digest in sorted(digests) if digest not in self._verdicts and self._verdict(digest)]
        if wrong:
            yield CheckFinding(
                "artifacts",
                "blob.samples",
                Severity.WARNING,
                wrong[0][:12],
                f"The samples of {plural(len(wrong), 'benchmark run')} are missing or damaged; their figures remain.",
                "Measure again where the samples matter.",
            )

    def _strays(self, needed: set[str]) -> Iterator[CheckFinding]:
        strays = [digest for digest in self._sizes if digest not in needed]
        if strays:
            yield CheckFinding(
                "artifacts",
                "blob.stray",
                Severity.INFO,
                plural(len(strays), "file"),
                f"Nothing needs {plural(len(strays), 'file')} of the artifact store.",
                "quickserveml gc removes them once they are old enough.",
            )


def _leased(state: StateStore) -> frozenset[str]:
    return frozenset(digest for lease in state.leases() for digest in lease.digests)


def _looks_the_same(file: FileEntry) -> bool:
    link = file.link
    if link is None:
        return True
    try:
        status = Path(link.path).stat(follow_symlinks=False)
    except (OSError, ValueError):
        return False
    return (status.st_size, status.st_mtime_ns) == (file.size_bytes, link.mtime_ns)


def _finding(code: str, subject: str, message: str, hint: str) -> CheckFinding:
    return CheckFinding("artifacts", code, Severity.ERROR, subject, message, hint)
