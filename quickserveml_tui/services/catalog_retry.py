"""Try registered versions again: when asked, with other inputs, and when the runtime is another one than before."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import NotFoundError, QuickServeError, StoreError, UsageError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.jobs import CancelToken, Progress, ProgressSink, ignore_progress
from quickserveml_tui.core.models import ModelRecord, TrialOutcome, TrialReport, VersionRecord
from quickserveml_tui.core.runners import RunnerPool
from quickserveml_tui.core.stores import RegistryEdit, RegistryStore
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.runtime.installed import installed_runtime
from quickserveml_tui.services.catalog_edit import with_version
from quickserveml_tui.services.catalog_feed import check_feed
from quickserveml_tui.services.golden_gate import GoldenGate

log = logging.getLogger(__name__)
Open: TypeAlias = Callable[[str, VersionRecord], Path]
"""Where the file of a version, called by its reference, can be opened."""
_Key: TypeAlias = tuple[str, int, str, str]
_TURN_POLL_S = 0.1


class CatalogTrials:
    """Tries versions of a registry again; any thread may ask."""

    def __init__(self, registry: RegistryStore, runners: RunnerPool, open_version: Open, gate: GoldenGate) -> None:
        self._registry = registry
        self._runners = runners
        self._open = open_version
        self._gate = gate
        self._lock = threading.Lock()
        self._running: dict[_Key, threading.Lock] = {}
        self._tried: dict[_Key, TrialReport] = {}
        """Reports of this process, by model, version, artifact and runtime."""

    def current(
        self,
        model: ModelRecord,
        version: VersionRecord,
        *,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> VersionRecord:
        """The version with a report of the installed runtime: tried now, if that was not done yet.

        Once per process and version. Where the report cannot be written, it holds in this process alone. Raises
        `StoreError` when the files cannot be opened, `QuickServeError` when no runner can be had, `CancelledError`.
        """
        installed = installed_runtime()
        if not installed or version.trial.runtime in ("", installed):
            return version
        key = (model.id, version.version, version.artifact.digest, installed)
        with self._turn(key, cancel):
            report = self._tried.get(key)
            if report is None:
                on_progress(Progress(f"trying it with {installed}"))
                report = self._tried[key] = self.run(model, version, version.feed, cancel)
                try:
                    self.keep(model, version, report)
                except StoreError as error:
                    log.info("A new trial of %s@%d was not kept: %s", model.name, version.version, error.message)
        return replace(version, trial=report)

    @contextmanager
    def _turn(self, key: _Key, cancel: CancelToken | None) -> Iterator[None]:
        """Alone at work on a key; whoever waits for another's trial can be cancelled too."""
        with self._lock:
            mine = self._running.setdefault(key, threading.Lock())
        while not mine.acquire(timeout=_TURN_POLL_S):
            if cancel is not None:
                cancel.raise_if_cancelled()
        try:
            yield
        finally:
            mine.release()

    def retry(self, model: ModelRecord, version: VersionRecord, cancel: CancelToken | None = None) -> ModelRecord:
        """The model with a new report of one version, kept in the registry.

        Where it cannot be written, the report that is returned says so in its warning. A version that was deleted
        meanwhile is tried all the same, and nothing is written.
        """
        report = self.run(model, version, version.feed, cancel)
        try:
            kept = self.keep(model, version, report, is_asked=True)
        except StoreError as error:
            warning = f"{report.warning} This report was not kept: {error.message}".strip()
            return with_version(model, replace(version, trial=replace(report, warning=warning)))
        return kept or with_version(model, replace(version, trial=report))

    def set_feed(
        self, model: ModelRecord, version: VersionRecord, feed: FeedSpec, *, cancel: CancelToken | None = None
    ) -> ModelRecord:
        """The model with other overrides kept for one version, and the report of a trial with them.

        Raises `UsageError` (`usage.override`) for overrides that do not fit, or with which a version that runs would no
        longer; `NotFoundError` when the version was deleted meanwhile; `CancelledError`, and nothing is kept then.
        """
        check_feed(version.facts.inputs, feed)
        if feed == version.feed:
            return model
        report = self.run(model, version, feed, cancel)
        if version.runnable and report.outcome is not TrialOutcome.READY:
            raise refused(f"{model.name}@{version.version}", report)
        kept = self.keep(model, version, report, feed)
        if kept is None:
            raise NotFoundError(
                f"{model.name}@{version.version} was deleted meanwhile.",
                hint="`quickserveml trash` lists what can be restored.",
                code="version.not_found",
            )
        return kept

    def run(
        self, model: ModelRecord, version: VersionRecord, feed: FeedSpec, cancel: CancelToken | None = None
    ) -> TrialReport:
        """The report of a trial made now. What is stored is never rejected: it is unrunnable then.

        Golden outputs that a version which runs does not give are the report's warning.
        """
        ref = f"{model.name}@{version.version}"
        path = self._open(ref, version)
        with self._runners.borrow() as runner:
            report = runner.trial(path, feed, nodes=version.facts.nodes, cancel=cancel)
        if cancel is not None:
            cancel.raise_if_cancelled()
        if report.outcome is TrialOutcome.REJECTED:
            report = replace(report, outcome=TrialOutcome.UNRUNNABLE)
        elif report.outcome is TrialOutcome.READY and version.golden:
            report = replace(report, warning=self._gate.problem(ref, path, version, cancel=cancel))
            if cancel is not None:
                cancel.raise_if_cancelled()
        return report if report.tried_at else replace(report, tried_at=utc_now())

    def keep(
        self,
        model: ModelRecord,
        version: VersionRecord,
        report: TrialReport,
        feed: FeedSpec | None = None,
        *,
        is_asked: bool = False,
    ) -> ModelRecord | None:
        """The model as it is written now; None when the version is no longer there.

        A report that another process wrote meanwhile, after this trial, stays unless the user asked for this one; the
        report from before the trial goes whatever its time says, since clocks are put right.
        """

        def work(edit: RegistryEdit) -> ModelRecord | None:
            now = edit.find(model.id)
            found = now.version(version.version) if now is not None else None
            if now is None or found is None or found.artifact.digest != version.artifact.digest:
                return None
            overtaken = not is_asked and found.trial != version.trial and found.trial.tried_at > report.tried_at
            if feed is None and (found.feed != version.feed or overtaken):
                return now
            changed = replace(found, trial=report, feed=found.feed if feed is None else feed)
            return edit.put(with_version(now, changed))

        return self._registry.edit(work)


def refused(ref: str, report: TrialReport) -> QuickServeError:
    """The error for overrides with which a version that runs would no longer."""
    return UsageError(
        f"{ref} does not run on such inputs, so they are not kept: {safe_text(report.reason, 300)}",
        hint="Choose other sizes or values; what was kept before still holds.",
        code="usage.override",
        detail=report.detail,
    )
