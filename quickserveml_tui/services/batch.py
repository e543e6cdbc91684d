"""Runs data sets through models and keeps the results."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import DataError, NotFoundError
from quickserveml_tui.core.jobs import CancelToken, ProgressSink, ignore_progress, new_id
from quickserveml_tui.core.ports import CatalogPort
from quickserveml_tui.core.predictions import BatchResult, BatchSpec
from quickserveml_tui.core.runners import RunnerPool
from quickserveml_tui.core.stores import StateStore
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.services.golden_gate import GoldenGate
from quickserveml_tui.services.paths import user_path

DEFAULT_SPEC = BatchSpec()


class BatchService:
    """`BatchPort` on the catalog, fresh runners and the state database."""

    def __init__(
        self,
        catalog: CatalogPort,
        runners: RunnerPool,
        state: StateStore,
        home_args: tuple[str, ...] = (),
        *,
        gate: GoldenGate | None = None,
    ) -> None:
        self._catalog = catalog
        self._runners = runners
        self._state = state
        self._home_args = home_args
        self._gate = gate

    def run(
        self,
        ref: str,
        data: str,
        spec: BatchSpec = DEFAULT_SPEC,
        *,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
        result_id: str = "",
    ) -> BatchResult:
        """Run a table (CSV, TSV) or an NPZ file through a model in a runner of its own, and keep the result.

        It is kept under `result_id` where one is given, and on cancel the partial result is kept and returned. Raises
        `DataError` when the data cannot be read or does not fit the model, `UsageError` for settings out of range,
        `GateError` when a golden output of the version fails, `NotFoundError`, `ModelUnrunnableError`, `RunnerError`.
        """
        spec.validate()
        source = check_data(data)
        output = str(user_path(spec.output_path)) if spec.output_path else ""
        token = cancel or CancelToken()
        resolved = self._catalog.resolve(ref, runnable=True, on_progress=on_progress, cancel=token)
        passed = ""
        if spec.verify and self._gate is not None:
            passed = self._gate.require(resolved, "nothing is run through it", on_progress=on_progress, cancel=token)
        with self._runners.fresh() as runner:
            token.raise_if_cancelled()
            raw = runner.batch(
                Path(resolved.path), source, replace(spec, output_path=output), on_progress=on_progress, cancel=token
            )
        result = replace(
            raw,
            id=result_id or new_id("batch"),
            ref=resolved.ref,
            data=str(source),
            created_at=utc_now(),
            command=command_of(resolved.ref, data, spec, self._home_args if resolved.version else ()),
            metadata=raw.metadata | ({"golden": passed} if passed else {}),
        )
        self._state.add_batch(result)
        return result

    def get(self, result_id: str) -> BatchResult:
        """A saved result. Raises `NotFoundError` (`batch.not_found`)."""
        result = self._state.batch(result_id)
        if result is None:
            raise NotFoundError(
                f"There is no batch result “{safe_text(result_id, 60)}”.",
                hint="The history of batches lists them.",
                code="batch.not_found",
            )
        return result

    def delete(self, result_id: str) -> None:
        """Forget a saved result; its output stays. Raises `NotFoundError` (`batch.not_found`)."""
        self.get(result_id)
        self._state.remove_batch(result_id)

    def history(self, limit: int = 100) -> tuple[BatchResult, ...]:
        """Results, newest first."""
        return self._state.batches(limit)


def check_data(data: str) -> Path:
    """The absolute path of a data set that is there. Raises `DataError` (`data.missing`), `UsageError`."""
    source = user_path(data)
    if not source.exists():
        raise DataError(
            f"There is no file “{safe_text(source.name, 80)}”.", hint="Check the path.", code="data.missing"
        )
    return source


def command_of(ref: str, data: str, spec: BatchSpec, home_args: tuple[str, ...] = ()) -> str:
    """The command line that reproduces a batch run."""
    args = ["quickserveml", "batch", ref, data]
    if spec.batch_size != DEFAULT_SPEC.batch_size:
        args += ["--batch-size", str(spec.batch_size)]
    if spec.target_column:
        args += ["--target", spec.target_column]
    if spec.output_path:
        args += ["--output", spec.output_path]
    if spec.intra_op_threads != DEFAULT_SPEC.intra_op_threads:
        args += ["--threads", str(spec.intra_op_threads)]
    if not spec.verify:
        args.append("--no-verify")
    return shlex.join([*args, *home_args])
