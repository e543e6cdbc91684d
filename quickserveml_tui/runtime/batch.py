"""Runs a data set through a model, inside the runner."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import CancelledError, DataError, StoreError, UsageError
from quickserveml_tui.core.jobs import Progress, ProgressSink, new_id
from quickserveml_tui.core.predictions import BatchResult, BatchSpec, RowFailure
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.runtime.datasets import open_dataset
from quickserveml_tui.runtime.host import HAS_PROC
from quickserveml_tui.runtime.inference import RowRunner
from quickserveml_tui.runtime.layouts import Chunk, Dataset
from quickserveml_tui.runtime.probing import known_inputs
from quickserveml_tui.runtime.tally import Tally

if TYPE_CHECKING:
    from quickserveml_tui.runtime.session import Session

MAX_VALUES = 4 << 20
"""Values in one inference: wide rows run in smaller batches than asked for."""
PROGRESS_S = 0.1


def run_batch(
    session: Session, data: Path, spec: BatchSpec, on_progress: ProgressSink, should_stop: Callable[[], bool]
) -> BatchResult:
    """Run the table or NPZ file `data` through the model; `on_progress` is called at most ten times a second.

    Bad rows are set apart with the reason and never stop the run. With `spec.output_path`, the predictions replace that
    file in one step at the end: a JSON document a line, with `row` and `prediction` (and `probability`, `target`,
    `correct` where known) or `row` and `error`. A run stopped by `should_stop` or `session.terminate()` returns and
    writes what it has.

    Raises `DataError` when the data cannot be read, does not fit the model or has not one good row, `UsageError` for
    settings out of range, `StoreError` when the output cannot be written, `RunnerError` when the runtime fails.
    """
    spec.validate()
    dataset = open_dataset(data, known_inputs(session.inputs, session.path), spec.target_column)
    try:
        with _Output(spec.output_path, data) as output:
            return _Run(session, spec, dataset, output, on_progress).run(data, should_stop)
    finally:
        dataset.close()


class _Run:
    """One batch run under way."""

    def __init__(
        self, session: Session, spec: BatchSpec, dataset: Dataset, output: _Output, on_progress: ProgressSink
    ) -> None:
        self._session = session
        self._spec = spec
        self._dataset = dataset
        self._output = output
        self._on_progress = on_progress
        self._tally = Tally()
        self._started = time.perf_counter()
        self._reported = -PROGRESS_S
        self._cancelled = False

    def run(self, data: Path, should_stop: Callable[[], bool]) -> BatchResult:
        """Run all rows."""
        dataset = self._dataset
        runner = RowRunner(self._session, dataset.row_limit, is_whole=dataset.is_whole, should_stop=should_stop)
        self._report()
        try:
            for chunk in self._dataset.chunks(self._chunk_size()):
                if should_stop():
                    self._cancelled = True
                    break
                self._take(chunk, runner)
                if time.perf_counter() - self._reported >= PROGRESS_S:
                    self._report()
        except CancelledError:
            self._cancelled = True
        except OSError as error:
            raise DataError(
                f"“{safe_text(data.name, 80)}” cannot be read: {safe_text(error.strerror or error, 80)}.",
                hint="Check the disk or network share that holds it.",
                code="data.unreadable",
            ) from error
        if not self._cancelled:
            self._require_answers(data.name)
        self._output.commit()
        self._report(is_last=True)
        return self._result(data, runner.note)

    def _chunk_size(self) -> int:
        fitting = max(MAX_VALUES // max(self._dataset.width, 1), 1)
        return self._dataset.row_limit or min(self._spec.batch_size, fitting)

    def _take(self, chunk: Chunk, runner: RowRunner) -> None:
        answers = runner.answers(chunk.feeds, len(chunk.rows)) if chunk.rows else []
        for failure in chunk.failures:
            self._set_apart(failure)
        for index, (row, answer) in enumerate(zip(chunk.rows, answers, strict=True)):
            if answer.problem:
                self._set_apart(RowFailure(row, answer.problem))
                continue
            target = chunk.targets[index] if chunk.targets is not None else None
            right = self._tally.add(answer, target)
            line: dict[str, Any] = {"row": row, "prediction": answer.prediction}
            if answer.probability is not None:
                line["probability"] = answer.probability
            if target is not None:
                line["target"] = target
            if right is not None:
                line["correct"] = right
            self._output.write(line)

    def _set_apart(self, failure: RowFailure) -> None:
        self._tally.add_failure(failure)
        self._output.write({"row": failure.row, "error": failure.reason})

    def _require_answers(self, name: str) -> None:
        tally = self._tally
        if tally.rows == 0:
            raise DataError(
                f"“{safe_text(name, 80)}” has no rows below its header.",
                hint="Give at least one row.",
                code="data.empty",
            )
        if tally.failed == tally.rows:
            first = tally.failures[0]
            raise DataError(
                f"None of the {plural(tally.rows, 'row')} could be used. Row {first.row:,}: {first.reason}",
                hint="Compare the data with what `quickserveml schema` shows.",
                code="data.all_rows_failed",
            )

    def _report(self, *, is_last: bool = False) -> None:
        now = time.perf_counter()
        elapsed, done = now - self._started, self._tally.rows
        total = done if is_last and not self._cancelled else self._dataset.total
        rate = done / elapsed if done and elapsed > 0 else None
        self._reported = now
        self._on_progress(
            Progress(
                phase="running",
                done=done,
                total=total,
                unit="rows",
                rate_per_s=rate,
                eta_s=max(total - done, 0) / rate if rate and total is not None else None,
                elapsed_s=elapsed,
                failed=self._tally.failed,
            )
        )

    def _result(self, data: Path, note: str) -> BatchResult:
        elapsed, tally = time.perf_counter() - self._started, self._tally
        classes, confusion = tally.confusion()
        metadata = {"target": self._dataset.target} if self._dataset.target else {}
        if tally.speaks_otherwise:
            note = f"{note} Truth and predictions name their classes differently, so there is no accuracy.".strip()
        if note:
            metadata["note"] = note
        return BatchResult(
            id=new_id("batch"),
            ref=str(self._session.path),
            data=str(data),
            rows=tally.rows,
            failed=tally.failed,
            elapsed_s=elapsed,
            throughput_per_s=tally.rows / elapsed if elapsed > 0 else 0.0,
            accuracy=tally.accuracy,
            correct=tally.correct,
            confusion=confusion,
            classes=classes,
            failures=tuple(tally.failures),
            output=self._spec.output_path,
            cancelled=self._cancelled,
            created_at=utc_now(),
            metadata=metadata,
        )


class _Output:
    """A JSONL file that appears whole or not at all; without a path, lines go nowhere.

    Raises `UsageError` (`usage.output`) for a path that cannot be written or is the data itself, and `StoreError`
    (`output.failed`) when writing fails later.
    """

    def __init__(self, path: str, data: Path) -> None:
        self._path = Path(path) if path else None
        self._file: IO[bytes] | None = None
        self._temp: Path | None = None
        """The file's name until it is complete; None where the system lets it have none."""
        self._encoder = msgspec.json.Encoder()
        if self._path is None:
            return
        try:
            if self._path.exists() and (self._path.samefile(data) or not self._path.is_file()):
                raise self._refused("it is the data itself" if self._path.samefile(data) else "it is not a file")
            handle, self._temp = _open_temp(self._path)
        except (OSError, ValueError) as error:
            raise self._refused("its folder cannot be written") from error
        self._file = os.fdopen(handle, "wb", buffering=1 << 18)

    def _refused(self, why: str) -> UsageError:
        name = safe_text(self._path.name if self._path else "", 80)
        return UsageError(
            f"“{name}” cannot take the predictions: {why}.", hint="Choose another output file.", code="usage.output"
        )

    def __enter__(self) -> _Output:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # what is left in the buffer cannot be written either
                self._file.close()
        if self._temp is not None:
            self._temp.unlink(missing_ok=True)

    def write(self, line: dict[str, Any]) -> None:
        """Add a line."""
        if self._file is None:
            return
        try:
            self._file.write(self._encoder.encode(line) + b"\n")
        except OSError as error:
            raise self._failed(error) from error

    def commit(self) -> None:
        """Put the file in its place, durably."""
        if self._file is None or self._path is None:
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            umask = os.umask(0)
            os.umask(umask)
            os.fchmod(self._file.fileno(), 0o666 & ~umask)
            if self._temp is None:
                self._temp = _give_name(self._file.fileno(), self._path)
            self._file.close()
            self._temp.replace(self._path)
        except OSError as error:
            raise self._failed(error) from error
        self._temp = None

    def _failed(self, error: OSError) -> StoreError:
        return StoreError(
            f"The predictions cannot be written: {safe_text(error.strerror or error, 80)}.",
            hint="Make room, or choose another output file; what was there before is unchanged.",
            code="output.failed",
        )


def _open_temp(output: Path) -> tuple[int, Path | None]:
    """A new file in the folder of `output`, without a name where the system can: a kill then leaves nothing behind."""
    if hasattr(os, "O_TMPFILE") and HAS_PROC:
        with contextlib.suppress(OSError):  # not every file system can
            return os.open(output.parent, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600), None
    descriptor, name = tempfile.mkstemp(prefix=_temp_prefix(output), suffix=".tmp", dir=output.parent)
    return descriptor, Path(name)


def _give_name(descriptor: int, output: Path) -> Path:
    """A passing name beside `output` for a file without one: a link cannot replace a file, but a rename can."""
    name = output.with_name(f"{_temp_prefix(output)}{uuid.uuid4().hex}.tmp")
    # `src_dir_fd` means nothing for an absolute path, but only with it does Python follow the link in /proc.
    os.link(f"/proc/self/fd/{descriptor}", name, src_dir_fd=descriptor, follow_symlinks=True)
    return name


def _temp_prefix(output: Path) -> str:
    return f".{os.fsdecode(os.fsencode(output.name)[:100])}."
