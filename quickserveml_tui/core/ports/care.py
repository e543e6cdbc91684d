"""Look after the stores, carry versions elsewhere, keep generations."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from quickserveml_tui.core.care import BackupInfo, BundleInfo, CheckReport, CollectReport, HomeHealth, HomeOverview
from quickserveml_tui.core.catalog import AddResult
from quickserveml_tui.core.jobs import CancelToken, ProgressSink, ignore_progress


class MaintenancePort(Protocol):
    """Look after the stores."""

    def health(self) -> HomeHealth:
        """Whether the home can be written, and what is wrong with its stores; cheap enough for every start."""
        ...

    def overview(self) -> HomeOverview:
        """What the home holds and takes; looks at every blob's size."""
        ...

    def collect(
        self, *, dry_run: bool = False, grace_s: float | None = None, cancel: CancelToken | None = None
    ) -> CollectReport:
        """Remove what nothing needs; `grace_s` None takes the setting."""
        ...

    def check(
        self,
        *,
        full: bool = False,
        repair: bool = False,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> CheckReport:
        """Check all stores against each other; `full` reads every byte, `repair` mends what can be mended."""
        ...


class BundlePort(Protocol):
    """Carry versions from one home to another."""

    def export(
        self,
        ref: str,
        path: str,
        *,
        overwrite: bool = False,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> BundleInfo:
        """Write a version to a file: a bundle (`.qsml`) with all that belongs to it, or the plain model (`.onnx`)."""
        ...

    def write(self, ref: str, target: Path) -> BundleInfo:
        """Write the bundle of a version to a new file of the program's own, which may lie in the home."""
        ...

    def read(self, path: str) -> BundleInfo:
        """What a bundle holds, every digest checked. Raises `DataError` (`bundle.…`)."""
        ...

    def import_bundle(
        self,
        path: str,
        *,
        name: str = "",
        onto: str | None = None,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> AddResult:
        """Add what a bundle holds as the next version; tried in a runner like any other file.

        `onto` is as in `AddRequest`.
        """
        ...


class BackupPort(Protocol):
    """Keep generations of the whole home in another folder."""

    def create(
        self,
        folder: str,
        *,
        keep: int | None = None,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> BackupInfo:
        """Add a generation; blobs that are there already are not copied. `keep` removes all but the newest."""
        ...

    def list(self, folder: str) -> tuple[BackupInfo, ...]:
        """Generations, newest first."""
        ...

    def verify(
        self,
        folder: str,
        generation: str = "",
        *,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> tuple[BackupInfo, ...]:
        """Read every byte of one generation, or of all; problems stand in the infos."""
        ...

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

        What the home held before is kept as a generation of its own, so that this can be undone.
        """
        ...

    def content_digest(self) -> str:
        """Canonical digest of what the home holds now."""
        ...
