"""Look after the stores: health, checks and repair, collection."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from quickserveml_tui.core.care import CarePolicy, CheckReport, CollectReport, HomeHealth, HomeOverview, StoreProblem
from quickserveml_tui.core.errors import OPEN_FOR_WRITING, QuickServeError, ReadOnlyError, StoreError
from quickserveml_tui.core.jobs import CancelToken, Progress, ProgressSink, ignore_progress
from quickserveml_tui.core.stores import ArtifactStore, RegistryStore, StateStore
from quickserveml_tui.services.check_blobs import BlobCheck
from quickserveml_tui.services.check_models import check_models
from quickserveml_tui.services.check_stores import check_state, mend_stores

REPAIR = "quickserveml fsck --repair"


class MaintenanceService:
    """`MaintenancePort` on the stores of a home."""

    def __init__(
        self,
        home: Path,
        registry: RegistryStore,
        artifacts: ArtifactStore,
        state: StateStore,
        policy: CarePolicy,
        *,
        read_only: bool = False,
        content_digest: Callable[[], str] | None = None,
    ) -> None:
        self._home = home
        self._registry = registry
        self._artifacts = artifacts
        self._state = state
        self._policy = policy
        self._read_only = read_only
        self._content_digest = content_digest

    def health(self) -> HomeHealth:
        """Whether the catalog can be written, and what is wrong with the stores; reads no blob.

        A problem of the state database alone stands in the way of runs and jobs only.
        """
        registry, state = _problem_of(self._registry), _problem_of(self._state)
        problems = [problem for problem in (registry, state) if problem]
        if self._read_only:
            problems.insert(
                0,
                StoreProblem(
                    "home",
                    "store.read_only",
                    "The home is opened read-only; nothing is changed.",
                    OPEN_FOR_WRITING,
                ),
            )
        return HomeHealth(self._read_only or registry is not None, tuple(problems))

    def overview(self) -> HomeOverview:
        """What the home holds and takes; looks at every blob's size. Raises `StoreError` but for the state database."""
        from quickserveml_tui.services.overview import overview

        return overview(self._home, self._registry, self._artifacts, self._state, self._policy)

    def collect(
        self, *, dry_run: bool = False, grace_s: float | None = None, cancel: CancelToken | None = None
    ) -> CollectReport:
        """Remove what nothing needs, purge old trash and rows beyond retention; see `MaintenancePort.collect`.

        Raises `StoreError` while a backup, a check or another collection runs, or when a store cannot be read: what is
        needed is then not known, so nothing is removed.
        """
        from quickserveml_tui.services.collect import collect
        from quickserveml_tui.services.job_folders import remove_stray_job_folders

        for store in (self._registry, self._state):
            problem = store.problem()
            if problem is not None and problem.code != "store.read_only":
                raise StoreError(
                    f"Nothing was collected: {problem.message}",
                    hint=f"Repair it first: {problem.command or REPAIR}",
                    code=problem.code,
                )
        report = collect(
            self._registry,
            self._artifacts,
            self._state,
            self._policy,
            dry_run=dry_run,
            grace_s=grace_s,
            cancel=cancel,
        )
        if not dry_run:
            remove_stray_job_folders(self._home, self._state)
        return report

    def check(
        self,
        *,
        full: bool = False,
        repair: bool = False,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> CheckReport:
        """Check registry, artifacts and state database, each by itself and against each other.

        Without `full` no blob's content is read: a missing or resized one is found, a changed one is not. With `repair`
        a damaged registry or state database is rebuilt from what can be read of it (its files are set aside), what
        contradicts itself in the registry is straightened out, and blobs are restored from the model cache where it
        holds an equal copy. Raises `ReadOnlyError` for a repair of a home that is opened read-only.
        """
        if repair and self._read_only:
            raise ReadOnlyError("The home is opened read-only.", hint=OPEN_FOR_WRITING)
        started = time.monotonic()
        token = cancel or CancelToken()
        on_progress(Progress("checking the stores"))
        findings = mend_stores(self._home, self._registry, self._state, repair=repair)
        if _problem_of(self._registry, unreadable=True) is not None:  # nothing further can be said without it
            return CheckReport(full, elapsed_s=time.monotonic() - started, findings=tuple(findings))
        models, trash = self._registry.models(), self._registry.trash()
        findings += check_models(self._registry, models, trash, repair=repair)
        told = {item.code for item in findings if item.store == "state" and not item.repaired}
        if "store.corrupt" in told:
            told.add("state.damaged")  # the same damage, seen from nearer by
        rows, row_findings = check_state(
            self._state, {model.id for model in models} | {item.model_id for item in trash}
        )
        findings += [item for item in row_findings if item.code not in told]
        blobs = BlobCheck(self._home, self._artifacts, full=full, repair=repair, on_progress=on_progress, cancel=token)
        if (repair or full) and self._home.exists():
            with self._artifacts.guard("check"):
                findings += blobs.run(models, trash, self._state)
        else:
            findings += blobs.run(models, trash, self._state)
        return CheckReport(
            full,
            models=len(models),
            versions=sum(len(model.versions) for model in models),
            blobs=blobs.count,
            bytes_read=blobs.bytes_read,
            rows=rows,
            elapsed_s=time.monotonic() - started,
            findings=tuple(findings),
            content_digest=self._digest(),
        )

    def _digest(self) -> str:
        """Canonical digest of the home; empty while a store cannot be read."""
        if self._content_digest is None or _problem_of(self._state) is not None:
            return ""
        try:
            return self._content_digest()
        except StoreError:  # damage further on, which is among the findings
            return ""


def _problem_of(store: RegistryStore | StateStore, *, unreadable: bool = False) -> StoreProblem | None:
    """The problem that a store reports; with `unreadable` only one that keeps it from being read."""
    name = "registry" if hasattr(store, "heads") else "state"
    problem: StoreProblem | None = None
    try:
        problem = store.problem()
    except QuickServeError as error:
        problem = StoreProblem(name, error.code, error.message, error.hint)
    if problem is None or not unreadable:
        return problem
    try:
        if name == "registry":
            store.models()  # type: ignore[union-attr]
        return None
    except QuickServeError:
        return problem
