"""Compares versions and settings by letting them take turns, and keeps what was found."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.comparing import (
    MAX_SIDES,
    ComparedSide,
    Comparison,
    ComparisonFrame,
    ComparisonSpec,
    OutputDifference,
    Paired,
    Side,
    UnsavedComparisonError,
    compare_command,
)
from quickserveml_tui.core.errors import CancelledError, NotFoundError, QuickServeError, StoreError, UsageError
from quickserveml_tui.core.jobs import CancelToken, new_id
from quickserveml_tui.core.paired import is_precise, paired
from quickserveml_tui.core.ports import CatalogPort
from quickserveml_tui.core.ports.lab import ComparisonSink
from quickserveml_tui.core.results import LabResult
from quickserveml_tui.core.runners import RunnerPool
from quickserveml_tui.core.stores import ArtifactStore, StateStore
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.runtime.fingerprint import take_fingerprint
from quickserveml_tui.runtime.host import host_status
from quickserveml_tui.runtime.turns import Contestant, Turns, take_turns
from quickserveml_tui.services.compare_figures import side_figures
from quickserveml_tui.services.compare_outputs import compare_outputs
from quickserveml_tui.services.golden_gate import GoldenGate

if TYPE_CHECKING:
    from quickserveml_tui.core.catalog import Resolved

KIND = "comparison"
_FRAME_S = 0.1
_STATISTICS_S = 0.5
_QUICK_RESAMPLES = 500


@dataclass(frozen=True)
class _Entry:
    """A side with the model that it names."""

    side: Side
    resolved: Resolved

    @property
    def contestant(self) -> Contestant:
        return Contestant(Path(self.resolved.path), self.side.spec)


class CompareService:
    """`ComparePort` on the catalog, fresh runners and the stores."""

    def __init__(
        self,
        catalog: CatalogPort,
        runners: RunnerPool,
        state: StateStore,
        artifacts: ArtifactStore,
        home_args: tuple[str, ...] = (),
        *,
        gate: GoldenGate | None = None,
    ) -> None:
        self._catalog = catalog
        self._runners = runners
        self._state = state
        self._artifacts = artifacts
        self._home_args = home_args
        self._gate = gate or GoldenGate(artifacts, runners)

    def run(
        self,
        sides: Sequence[Side],
        spec: ComparisonSpec,
        *,
        on_frame: ComparisonSink | None = None,
        cancel: CancelToken | None = None,
        save: bool = True,
        options: tuple[str, ...] = (),
        comparison_id: str = "",
    ) -> Comparison:
        """Compare the first side with each other one; golden outputs of versions are checked first.

        `options` are what a command needs beside references and `spec` to say the same. On cancel the rounds so far are
        judged, saved and returned; `CancelledError` when there is not one. Raises `UsageError`, `NotFoundError`,
        `GateError`, `ModelUnrunnableError`, `RunnerError`, and `UnsavedComparisonError`, which has the comparison.
        """
        spec.validate()
        if not 2 <= len(sides) <= MAX_SIDES:
            raise UsageError(
                f"A comparison takes 2 to {MAX_SIDES} sides, not {len(sides)}.",
                hint="Name a baseline and at least one model to hold against it.",
                code="usage.compare",
            )
        token = cancel or CancelToken()
        entries = [self._entry(side, token) for side in sides]
        watch = _Watch(spec, len(entries), on_frame)
        watch.on_phase("loading", 0)
        outputs = compare_outputs(
            self._runners, [(entry.resolved, entry.side.spec.feed) for entry in entries], cancel=token
        )
        turns = take_turns(
            self._runners,
            [entry.contestant for entry in entries],
            spec,
            on_phase=watch.on_phase,
            on_round=watch.on_round,
            cancel=token,
        )
        if not turns.medians_ms:
            raise CancelledError(
                "Cancelled before the first round was measured.",
                hint="There is no partial result to keep.",
                code="cancelled",
            )
        found = self._assemble(
            entries, spec, turns, outputs, comparison_id=comparison_id or new_id("cmp"), options=options
        )
        watch.done(turns, found)
        return self._saved(found, turns) if save else found

    def _entry(self, side: Side, token: CancelToken) -> _Entry:
        resolved = self._catalog.resolve(side.ref, runnable=True, cancel=token)
        resolved = replace(resolved, hashed=resolved.digest)  # now: hashing gigabytes would disturb the measurement
        spec = side.spec.validate()
        if resolved.version is not None:
            spec = replace(spec, feed=spec.feed.over(resolved.version.feed))
        if spec.verify:
            self._gate.require(resolved, "it is not measured", cancel=token)
        return _Entry(replace(side, ref=resolved.ref, spec=spec), resolved)

    def _assemble(
        self,
        entries: Sequence[_Entry],
        spec: ComparisonSpec,
        turns: Turns,
        outputs: Sequence[OutputDifference | None],
        *,
        comparison_id: str,
        options: tuple[str, ...],
    ) -> Comparison:
        from quickserveml_tui.core import statistics

        judged = _judged(turns, spec)
        threads = max(entry.side.spec.intra_op_threads for entry in entries)
        noise = turns.noise(threads)
        noisy, reason = statistics.noise([row[0] for row in turns.medians_ms], noise)
        fingerprint = take_fingerprint(
            entries[0].resolved.digest,
            entries[0].side.spec,
            pinned_cpus=turns.cpus,
            load_before=turns.load_before,
            load_after=host_status().load,
        )
        sides = tuple(
            ComparedSide(
                side=entry.side,
                model=entry.resolved.model.id if entry.resolved.model else "",
                version=entry.resolved.version.version if entry.resolved.version else None,
                digest=entry.resolved.digest,
                figures=side_figures(samples),
                paired=found,
                outputs=difference,
            )
            for entry, samples, found, difference in zip(entries, turns.sides, judged, outputs, strict=True)
        )
        uses_home = any(entry.resolved.version is not None for entry in entries)
        return Comparison(
            id=comparison_id,
            created_at=utc_now(),
            spec=spec,
            sides=sides,
            fingerprint=fingerprint,
            elapsed_s=turns.measured_s,
            noisy=noisy,
            noise_reason=reason,
            command=compare_command(
                tuple(side.side.ref for side in sides if not side.side.label),
                spec,
                (*options, *(self._home_args if uses_home else ())),
            ),
            cancelled=turns.cancelled,
        )

    # ---- what is kept

    def _saved(self, found: Comparison, turns: Turns) -> Comparison:
        samples = pack_rounds(turns)
        try:
            with self._artifacts.publishing():  # no collection between the samples and what names them
                saved = replace(found, samples_digest=self._artifacts.put_bytes(samples))
                self._state.add_result(to_result(saved))
        except QuickServeError as error:
            raise UnsavedComparisonError(found, error) from error
        return saved

    def get(self, comparison_id: str) -> Comparison:
        """A saved comparison. Raises `NotFoundError` (`comparison.not_found`)."""
        result = self._state.result(comparison_id)
        if result is None or result.kind != KIND:
            raise NotFoundError(
                f"There is no comparison “{safe_text(comparison_id, 60)}”.",
                hint="The list of comparisons shows their ids.",
                code="comparison.not_found",
            )
        return from_result(result)

    def delete(self, comparison_id: str) -> None:
        """Forget a saved comparison. Raises `NotFoundError` (`comparison.not_found`)."""
        self.get(comparison_id)
        self._state.remove_result(comparison_id)

    def history(self, limit: int = 100) -> tuple[Comparison, ...]:
        """Saved comparisons, newest first."""
        return tuple(from_result(result) for result in self._state.results(kind=KIND, limit=limit))


def to_result(found: Comparison) -> LabResult:
    """A comparison as the state store keeps it: under the model and version of its last side."""
    last = found.sides[-1]
    digests = (found.samples_digest,) if found.samples_digest else ()
    return LabResult(found.id, KIND, found.created_at, last.model, last.version, digests, msgspec.json.encode(found))


def from_result(result: LabResult) -> Comparison:
    """The comparison that `to_result` made. Raises `StoreError` (`store.corrupt`)."""
    try:
        return msgspec.json.decode(result.body, type=Comparison)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise StoreError(
            f"The comparison {safe_text(result.id, 60)} is damaged.",
            hint="quickserveml fsck --repair saves what can be read.",
            code="store.corrupt",
            detail=str(error),
        ) from error


class _Watch:
    """Turns rounds into frames, and ends the comparison where it is precise enough."""

    def __init__(self, spec: ComparisonSpec, sides: int, sink: ComparisonSink | None) -> None:
        self._spec = spec
        self._sink = sink
        self._process = 0
        self._paired: tuple[Paired | None, ...] = (None,) * sides
        self._p50 = (float("nan"),) * sides
        self._elapsed_s = 0.0
        self._rounds = 0
        self._framed_at = self._judged_at = 0.0

    def on_phase(self, phase: str, process: int) -> None:
        """New processes are loaded, or begin to be measured."""
        self._process = process
        self._send(phase)

    def on_round(self, turns: Turns) -> bool:
        """A round has ended; whether that is enough."""
        now = time.monotonic()
        if now - self._framed_at < _FRAME_S:
            return False
        self._framed_at = now
        self._elapsed_s, self._rounds = turns.measured_s, len(turns.medians_ms)
        self._p50 = _medians(turns)
        enough = False
        if now - self._judged_at >= _STATISTICS_S:
            self._judged_at = now
            self._paired = _judged(turns, self._spec, _QUICK_RESAMPLES)
            enough = self._is_enough()
        self._send("measuring")
        return enough

    def _is_enough(self) -> bool:
        precision = self._spec.precision
        if precision is None or self._process + 1 < min(2, self._spec.processes):  # one process proves little
            return False
        return all(found is None or is_precise(found, precision) for found in self._paired)

    def done(self, turns: Turns, found: Comparison) -> None:
        """All is judged."""
        self._elapsed_s, self._rounds, self._p50 = turns.measured_s, len(turns.medians_ms), _medians(turns)
        self._paired = tuple(side.paired for side in found.sides)
        self._send("done")

    def _send(self, phase: str) -> None:
        if self._sink is not None:
            self._sink(
                ComparisonFrame(self._elapsed_s, self._rounds, self._process + 1, self._p50, self._paired, phase)
            )


def _medians(turns: Turns) -> tuple[float, ...]:
    import numpy as np

    return tuple(float(value) for value in np.median(np.asarray(turns.medians_ms), axis=0))


def _judged(turns: Turns, spec: ComparisonSpec, resamples: int = 2000) -> tuple[Paired | None, ...]:
    import numpy as np

    medians = np.asarray(turns.medians_ms)
    others = (
        paired(
            medians[:, 0],
            medians[:, place],
            turns.processes,
            threshold=spec.threshold,
            seed=spec.seed,
            resamples=resamples,
        )
        for place in range(1, medians.shape[1])
    )
    return (None, *others)


def pack_rounds(turns: Turns) -> bytes:
    """The rounds as an NPZ file: `medians_ms` (rounds × sides), `process` (rounds), `latencies_ms_K` of side K."""
    import numpy as np

    arrays: dict[str, Any] = {
        "medians_ms": np.asarray(turns.medians_ms, dtype=np.float64),
        "process": np.asarray(turns.processes, dtype=np.int64),
    }
    for place, side in enumerate(turns.sides):
        arrays[f"latencies_ms_{place}"] = np.concatenate(side.latencies_ms)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()
