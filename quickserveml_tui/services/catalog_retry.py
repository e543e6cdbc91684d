"""Try registered versions again: when asked, with other inputs, and when the runtime is another one than before."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import NotFoundError, QuickServeError, ReadOnlyError, StoreError, UsageError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.jobs import CancelToken
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

    def current(self, model: ModelRecord, version: VersionRecord) -> VersionRecord:
        """The version with a report of the installed runtime: tried now, if that was not done yet.

        Once per process and version. Where the report cannot be written, it holds in this process alone. Raises
        `StoreError` when the files cannot be opened, and `QuickServeError` when no runner can be had.
        """
        installed = installed_runtime()
        if not installed or version.trial.runtime in ("", installed):
            return version
        key = (model.id, version.version, version.artifact.digest, installed)
        with self._lock:
            mine = self._running.setdefault(key, threading.Lock())
        with mine:
            report = self._tried.get(key)
            if report is None:
                report = self._tried[key] = self.run(model, version, version.feed)
                try:
                    self.keep(model, version, report)
                except StoreError as error:
                    log.info("A new trial of %s@%d was not kept: %s", model.name, version.version, error.message)
        return replace(version, trial=report)

    def retry(self, model: ModelRecord, version: VersionRecord, cancel: CancelToken | None = None) -> ModelRecord:
        """The model with a new report of one version, kept in the registry unless that is opened read-only.

        A version that was deleted meanwhile is tried all the same, and nothing is written.
        """
        report = self.run(model, version, version.feed, cancel)
        tried = with_version(model, replace(version, trial=report))
        try:
            return self.keep(model, version, report) or tried
        except ReadOnlyError:
            return tried

    def set_feed(self, model: ModelRecord, version: VersionRecord, feed: FeedSpec) -> ModelRecord:
        """The model with other overrides kept for one version, and the report of a trial with them.

        Raises `UsageError` (`usage.override`) for overrides that do not fit, or with which a version that runs would no
        longer; `NotFoundError` when the version was deleted meanwhile.
        """
        check_feed(version.facts.inputs, feed)
        if feed == version.feed:
            return model
        report = self.run(model, version, feed)
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
        if report.outcome is TrialOutcome.REJECTED:
            report = replace(report, outcome=TrialOutcome.UNRUNNABLE)
        elif report.outcome is TrialOutcome.READY and version.golden:
            report = replace(report, warning=self._gate.problem(ref, path, version, cancel=cancel))
            if cancel is not None:
                cancel.raise_if_cancelled()
        return report if report.tried_at else replace(report, tried_at=utc_now())

    def keep(
        self, model: ModelRecord, version: VersionRecord, report: TrialReport, feed: FeedSpec | None = None
    ) -> ModelRecord | None:
        """The model as it is written now; None when the version is no longer there.

        A report that another process wrote after this trial stays.
        """

        def work(edit: RegistryEdit) -> ModelRecord | None:
            now = edit.find(model.id)
            found = now.version(version.version) if now is not None else None
            if now is None or found is None or found.artifact.digest != version.artifact.digest:
                return None
            if feed is None and (found.feed != version.feed or found.trial.tried_at > report.tried_at):
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
