"""Whether versions still give their golden outputs, asked wherever one is about to be used."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from quickserveml_tui.core.catalog import Resolved
from quickserveml_tui.core.errors import GateError, QuickServeError, RunnerError
from quickserveml_tui.core.golden import DIFFERS, GoldenCheck, GoldenReport
from quickserveml_tui.core.jobs import CancelToken, ProgressSink, ignore_progress
from quickserveml_tui.core.models import GoldenOutput, VersionRecord
from quickserveml_tui.core.runners import ModelRunner, RunnerPool
from quickserveml_tui.core.stores import ArtifactStore
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.services.golden_checks import GoldenChecks

MAX_KNOWN = 10_000
GO_ON = "--no-verify goes on all the same."
_Key: TypeAlias = tuple[str, str, str, float, float, str]


class GoldenGate:
    """Runs golden outputs in a runner before a version is used; what passed is not run again in this process.

    What is known belongs to the content (model, inputs, outputs, tolerance) and to the installed runtime: change one of
    them, and it is run again. Sessions have their default settings: one thread, all optimisations, the CPU.
    """

    def __init__(self, artifacts: ArtifactStore, runners: RunnerPool, runtime: Callable[[], str] | None = None) -> None:
        self._checks = GoldenChecks(artifacts, runners)
        self._runtime = runtime or _installed_runtime
        self._lock = threading.Lock()
        self._known: dict[_Key, GoldenCheck] = {}

    def verify(
        self,
        ref: str,
        path: Path,
        version: VersionRecord,
        items: Sequence[GoldenOutput] | None = None,
        *,
        again: bool = False,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> GoldenReport:
        """Check golden outputs of a version, all by default, whose model lies at `path`.

        With `again` also those that passed before. Raises `CancelledError` and `UnavailableError`.
        """
        runtime = self._runtime()
        wanted = version.golden if items is None else tuple(items)
        keys = {item: _key(version, item, runtime) for item in wanted}
        with self._lock:
            known = {} if again else {item: self._known[key] for item, key in keys.items() if key in self._known}
        todo = [item for item in wanted if item not in known]
        token, used = cancel or CancelToken(), set[str]()
        made = (
            ()
            if not todo
            else self._checks.run(
                path,
                todo,
                on_progress=on_progress,
                cancel=token,
                on_runner=lambda runner: used.add(_runs(runner, token)),
            )
        )
        found = known | dict(zip(todo, made, strict=True))
        if used:  # runners from before an upgrade: what they pass is not known of the runtime that is installed now
            runtime = " and ".join(sorted(used))
        self._remember({keys[item]: check for item, check in found.items() if item in known or not check.ok})
        self._remember({_key(version, item, runtime): found[item] for item in todo})
        return GoldenReport(ref, runtime, tuple(_named(found[item], item.name) for item in wanted))

    def _remember(self, checks: dict[_Key, GoldenCheck]) -> None:
        with self._lock:
            for key, check in checks.items():
                self._known.pop(key, None)
                if check.ok:
                    self._known[key] = check
            while len(self._known) > MAX_KNOWN:
                del self._known[next(iter(self._known))]

    def require(
        self,
        model: Resolved,
        consequence: str,
        *,
        way_out: str = GO_ON,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> str:
        """How many golden outputs passed, such as `3 of 3`; empty for what has none, such as a file.

        Raises `GateError` when one fails: `golden.differs`, or `golden.unverified` when it could not be run or read.
        `consequence` is what does not happen then, as in “it is not measured”.
        """
        if model.version is None or not model.version.golden:
            return ""
        report = self.verify(model.ref, Path(model.path), model.version, on_progress=on_progress, cancel=cancel)
        if not report.ok:
            raise refusal(report, consequence, way_out)
        return report.count

    def problem(
        self,
        ref: str,
        path: Path,
        version: VersionRecord,
        *,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> str:
        """One sentence on the golden outputs that fail, or cannot be checked now; empty when all is well.

        Never raises for what the model or the stores do: for places that go on and only tell.
        """
        try:
            report = self.verify(ref, path, version, on_progress=on_progress, cancel=cancel)
        except QuickServeError as error:
            return f"The golden outputs of {ref} were not verified: {error.message}"
        return "" if report.ok else f"{sentence(report)} `quickserveml verify {ref}` shows every difference."


def sentence(report: GoldenReport) -> str:
    """What is wrong with a version whose golden outputs fail: the first that differs, else the first that failed."""
    first = next((check for check in report.failed if check.code == DIFFERS), report.failed[0])
    name = safe_text(first.name, 80)
    of = f" ({len(report.failed)} of {len(report.checks)} fail)" if len(report.checks) > 1 else ""
    if first.code == DIFFERS:
        return f"{report.ref} does not give its golden output {name}{of}: {first.reason}"
    return f"The golden output {name} of {report.ref} could not be verified{of}: {first.reason}"


def refusal(report: GoldenReport, consequence: str, way_out: str = GO_ON) -> GateError:
    """The error of a use that golden outputs stand in the way of; `consequence` as in “it is not measured”."""
    return GateError(
        f"{sentence(report).rstrip('.')}; {consequence}.",
        hint=f"`quickserveml verify {report.ref}` shows every difference. {way_out}".strip(),
        code=DIFFERS if report.differs else "golden.unverified",
        detail="\n".join(f"{check.name}: {check.reason}" for check in report.failed),
    )


def _key(version: VersionRecord, item: GoldenOutput, runtime: str) -> _Key:
    return version.artifact.digest, item.inputs_digest, item.outputs_digest, item.rtol, item.atol, runtime


def _runs(runner: ModelRunner, cancel: CancelToken) -> str:
    """The runtime of a runner; `unknown` for one that is dead, whose check tells why."""
    try:
        return runner.runtime(cancel)
    except RunnerError:
        return "unknown"


def _named(check: GoldenCheck, name: str) -> GoldenCheck:
    return check if check.name == name else replace(check, name=name)


def _installed_runtime() -> str:
    from quickserveml_tui.runtime.installed import installed_runtime

    return installed_runtime()
