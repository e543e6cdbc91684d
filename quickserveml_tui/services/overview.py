"""What a home holds and takes."""

from __future__ import annotations

import os
from pathlib import Path

from quickserveml_tui.core.care import CarePolicy, HomeOverview
from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.jobs import JobState
from quickserveml_tui.core.stores import ArtifactStore, RegistryStore, StateStore

MAX_JOBS = 10_000


def overview(
    home: Path, registry: RegistryStore, artifacts: ArtifactStore, state: StateStore, policy: CarePolicy
) -> HomeOverview:
    """Counts and sizes of all stores. Raises `StoreError` when registry or artifacts cannot be read."""
    import sqlite3

    from quickserveml_tui.runtime.host import NETWORK_FILE_SYSTEMS, file_system_of
    from quickserveml_tui.services.job_outcome import judged
    from quickserveml_tui.storage.state_file import SAFE_WAL

    models, warn, limit = registry.capacity()
    sizes = [blob.size_bytes for blob in artifacts.blobs()]
    states: list[JobState] = []
    jobs_known = True
    try:
        states = [job.state for job in judged(state, state.jobs(limit=MAX_JOBS))]
    except StoreError:
        jobs_known = False
    kind = file_system_of(home)
    return HomeOverview(
        models=models,
        warn_models=warn,
        max_models=limit,
        trash=len(registry.trash()),
        blobs=len(sizes),
        blob_bytes=sum(sizes),
        cache_bytes=folder_bytes(home / "cache"),
        cache_budget_bytes=policy.cache_budget_bytes,
        live_jobs=sum(item in (JobState.QUEUED, JobState.RUNNING) for item in states),
        lost_jobs=sum(item is JobState.LOST for item in states),
        kept_generations=_entries(home / "backups"),
        sqlite=sqlite3.sqlite_version,
        journal="write-ahead log" if sqlite3.sqlite_version_info >= SAFE_WAL else "rollback journal",
        file_system=kind,
        network=kind in NETWORK_FILE_SYSTEMS,
        jobs_known=jobs_known,
    )


def folder_bytes(folder: Path) -> int:
    """Size of all regular files below a folder; what vanishes meanwhile is not counted."""
    total = 0
    for place, _folders, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118 - many entries, no Path for each
            except OSError:
                continue
    return total


def _entries(folder: Path) -> int:
    try:
        return sum(1 for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        return 0
