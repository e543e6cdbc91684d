"""What `doctor` finds out about the home and its stores."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.core.text import plural
from quickserveml_tui.core.units import format_bytes

if TYPE_CHECKING:
    from quickserveml_tui.cli.front import Invocation
    from quickserveml_tui.core.care import HomeOverview
    from quickserveml_tui.core.ports import Workbench

LITTLE_SPACE = 1_000_000_000
"""Free bytes below which doctor warns."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `status` is ok, warn or error."""

    area: str
    name: str
    status: str
    message: str
    hint: str = ""


def examine_stores(invocation: Invocation) -> Iterator[Finding]:
    """Findings on the home and its stores."""
    area, home = "Stores", invocation.home_path()
    if not home.exists():
        parent = next(folder for folder in home.parents if folder.exists())
        writable = os.access(parent, os.W_OK)
        hint = "" if writable else "Choose another home with --home or QSML_HOME."
        yield Finding(area, "home", "ok" if writable else "error", f"{home} is created by the first write", hint)
        return
    yield from _home(home)
    with invocation.workbench() as workbench:
        problems = list(_problems(workbench))
        yield from problems
        broken = any(item.name == "state" and item.status == "error" for item in problems)
        yield _store("catalog", lambda: plural(workbench.catalog.list_models().total, "model"))
        if not broken:
            results = _store("results", lambda: plural(len(workbench.benchmark.history(limit=1000)), "saved benchmark"))
            broken = results.status == "error"
            yield results
        try:
            yield from _overview(workbench.maintenance.overview(), is_state_broken=broken)
        except QuickServeError as error:
            yield Finding(area, "overview", "error", error.message, error.hint)


def _home(home: Path) -> Iterator[Finding]:
    area, mode = "Stores", stat.S_IMODE(home.stat().st_mode)
    writable = os.access(home, os.W_OK | os.X_OK)
    hint = "" if writable else "Choose another home with --home or QSML_HOME."
    yield Finding(
        area, "home", "ok" if writable else "error", f"{home}{'' if writable else ' cannot be written'}", hint
    )
    if os.name == "posix" and mode & 0o077:
        yield Finding(area, "mode", "warn", f"{mode:04o}: others may look into it.", f"chmod 700 {home}")
    free = shutil.disk_usage(home).free
    little = free < LITTLE_SPACE
    yield Finding(
        area, "disk", "warn" if little else "ok", f"{format_bytes(free)} free", "Make room." if little else ""
    )


def _store(name: str, read: Callable[[], str]) -> Finding:
    try:
        return Finding("Stores", name, "ok", read())
    except QuickServeError as error:
        return Finding("Stores", name, "error", error.message, error.hint)


def _problems(workbench: Workbench) -> Iterator[Finding]:
    for problem in workbench.maintenance.health().problems:
        status = "warn" if problem.code in ("store.read_only", "store.locked") else "error"
        hint = f"Repair it with {problem.command}." if problem.command else problem.hint
        yield Finding("Stores", problem.store, status, problem.message, hint)


def _overview(overview: HomeOverview, *, is_state_broken: bool) -> Iterator[Finding]:
    area = "Stores"
    full = f"{plural(overview.models, 'model')} of at most {overview.max_models:,}"
    nearly = overview.models >= overview.warn_models
    hint = "Delete and purge what is no longer needed, or begin another home with --home." if nearly else ""
    yield Finding(area, "registry", "warn" if nearly else "ok", full, hint)
    if overview.trash:
        yield Finding(area, "trash", "ok", f"{plural(overview.trash, 'entry', 'entries')} can be restored")
    files = f"{plural(overview.blobs, 'file')}, {format_bytes(overview.blob_bytes)}"
    yield Finding(area, "artifacts", "ok", files)
    cache = f"{format_bytes(overview.cache_bytes)} of a budget of {format_bytes(overview.cache_budget_bytes)}"
    over = overview.cache_bytes > overview.cache_budget_bytes
    yield Finding(area, "cache", "warn" if over else "ok", cache, "quickserveml gc makes room." if over else "")
    if not is_state_broken and overview.jobs_known:
        yield from _state(overview)
    if overview.network:
        hint = "Locks cannot be trusted there: choose a home on a local disk with --home or QSML_HOME."
        yield Finding(area, "file system", "warn", f"{overview.file_system}, over the network", hint)
    elif overview.file_system:
        yield Finding(area, "file system", "ok", overview.file_system)
    if overview.kept_generations:
        kept = f"{plural(overview.kept_generations, 'earlier copy', 'earlier copies')} of the stores"
        yield Finding(area, "kept", "ok", kept)


def _state(overview: HomeOverview) -> Iterator[Finding]:
    area = "Stores"
    yield Finding(area, "state", "ok", f"SQLite {overview.sqlite}, {overview.journal}")
    jobs = f"{overview.live_jobs:,} under way"
    if overview.lost_jobs:
        jobs += f", {overview.lost_jobs:,} lost"
    hint = "quickserveml job list --state lost shows them." if overview.lost_jobs else ""
    yield Finding(area, "jobs", "warn" if overview.lost_jobs else "ok", jobs, hint)
