"""Runs golden outputs of one version again, each beside what it must give."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from quickserveml_tui.core.errors import CancelledError, QuickServeError, StoreError, UnavailableError
from quickserveml_tui.core.golden import DIFFERS, GoldenCheck, ValueDifference
from quickserveml_tui.core.jobs import CancelToken, Progress, ProgressSink
from quickserveml_tui.core.models import GoldenOutput
from quickserveml_tui.core.runners import ModelRunner, RunnerPool
from quickserveml_tui.core.stores import ArtifactStore
from quickserveml_tui.core.text import safe_text

RECORD_AGAIN = "Record it again, or take it away with `quickserveml golden remove`."


class GoldenChecks:
    """Checks in warm runners; one that dies fails its check, and the next goes on in another."""

    def __init__(self, artifacts: ArtifactStore, runners: RunnerPool) -> None:
        self._artifacts = artifacts
        self._runners = runners

    def run(
        self,
        path: Path,
        items: Sequence[GoldenOutput],
        *,
        on_progress: ProgressSink,
        cancel: CancelToken,
        on_runner: Callable[[ModelRunner], None] | None = None,
    ) -> tuple[GoldenCheck, ...]:
        """One check per golden output, in their order; `on_runner` is told each runner that is used.

        Raises `CancelledError`, and `UnavailableError` when no runner can be had; all else is a failed check.
        """
        waiting, checks = deque(items), list[GoldenCheck]()
        started = time.monotonic()
        while waiting:
            with self._runners.borrow() as runner:
                if on_runner is not None:
                    on_runner(runner)
                while True:  # also with a runner that is dead already: it fails one check, and not for ever
                    item = waiting.popleft()
                    failed = sum(not check.ok for check in checks)
                    elapsed_s = time.monotonic() - started
                    on_progress(
                        Progress(
                            "verifying", len(checks), len(items), "golden outputs",
                            elapsed_s=elapsed_s, failed=failed, note=item.name,
                        )
                    )  # fmt: skip
                    checks.append(self._check(runner, path, item, cancel))
                    if not waiting or not runner.alive:
                        break
        return tuple(checks)

    def _check(self, runner: ModelRunner, path: Path, item: GoldenOutput, cancel: CancelToken) -> GoldenCheck:
        cancel.raise_if_cancelled()
        try:
            differences, run_ms = runner.compare(
                path,
                inputs=whole_blob(self._artifacts, item.inputs_digest, item.name, cancel),
                outputs=whole_blob(self._artifacts, item.outputs_digest, item.name, cancel),
                rtol=item.rtol,
                atol=item.atol,
                cancel=cancel,
            )
        except (CancelledError, UnavailableError):
            raise
        except QuickServeError as error:
            return GoldenCheck(item.name, ok=False, reason=error.message, code=error.code)
        reason = first_difference(differences)
        code = DIFFERS if reason else ""
        return GoldenCheck(item.name, not reason, reason, code, differences, run_ms)


def first_difference(differences: Sequence[ValueDifference]) -> str:
    """One sentence on the first output that is not as expected; empty when all are."""
    worst = next((item for item in differences if not item.ok), None)
    if worst is None:
        return ""
    reason = worst.reason or "it is not what was expected."
    return reason if worst.output in reason else f"{safe_text(worst.output, 80)}: {reason}"


def whole_blob(artifacts: ArtifactStore, digest: str, name: str, cancel: CancelToken | None = None) -> Path:
    """Where a blob of the golden output `name` lies, after a comparison with its digest.

    Raises `StoreError` (`artifact.missing`, `artifact.corrupt`).
    """
    verdict = artifacts.check(digest, cancel=cancel)
    if verdict:
        what = "is missing from" if verdict == "missing" else "is damaged in"
        raise StoreError(
            f"A file of the golden output {safe_text(name, 80)} {what} the artifact store.",
            hint=RECORD_AGAIN,
            code="artifact.missing" if verdict == "missing" else "artifact.corrupt",
        )
    return artifacts.blob_path(digest)
