"""Measures models and keeps the runs."""

from __future__ import annotations

import io
import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from quickserveml_tui.core.benchmarks import BenchmarkFrame, BenchmarkRun, BenchmarkSpec, Phase, UnsavedRunError
from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import CancelledError, NotFoundError, QuickServeError
from quickserveml_tui.core.jobs import CancelToken, new_id
from quickserveml_tui.core.ports import CatalogPort
from quickserveml_tui.core.refs import PathRef, parse_ref
from quickserveml_tui.core.runners import FrameSink, RawBenchmark, RunnerPool
from quickserveml_tui.core.stores import ArtifactStore, StateStore
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.runtime.fingerprint import take_fingerprint
from quickserveml_tui.runtime.host import host_status
from quickserveml_tui.services.benchmark_summary import HostWatch, summarise_run
from quickserveml_tui.services.catalog_lookup import select_version
from quickserveml_tui.services.golden_gate import GoldenGate

if TYPE_CHECKING:
    from quickserveml_tui.core.catalog import Resolved
    from quickserveml_tui.core.statistics import HostNoise

MAX_HISTORY = 10_000


class BenchmarkService:
    """`BenchmarkPort` on the catalog, fresh runners and the stores."""

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
        ref: str,
        spec: BenchmarkSpec,
        *,
        on_frame: FrameSink | None = None,
        cancel: CancelToken | None = None,
        save: bool = True,
        run_id: str = "",
    ) -> BenchmarkRun:
        """Measure in a fresh runner and save the run with its raw samples, under `run_id` where one is given.

        On cancel the partial run is saved and returned; `CancelledError` when it has not one measured inference.
        Golden outputs of the version are checked first, in another runner, unless the spec says otherwise; `GateError`
        when one fails. Raises `UsageError` for a spec out of range, `NotFoundError`, `ModelUnrunnableError`,
        `RunnerError`, and `UnsavedRunError`, which has the run, when it was measured and could not be saved.
        """
        spec.validate()
        token = cancel or CancelToken()
        resolved = self._catalog.resolve(ref, runnable=True, cancel=token)
        if resolved.version is not None:
            spec = replace(spec, feed=spec.feed.over(resolved.version.feed))
        watch = HostWatch(on_frame, os.cpu_count() or 1, spec.intra_op_threads)
        watch.on_frame(BenchmarkFrame(Phase.LOADING, 0.0, (), (), 0))
        resolved = replace(resolved, hashed=resolved.digest)  # now: hashing gigabytes would disturb the measurement
        passed = self._gate.require(resolved, "it is not measured", cancel=token) if spec.verify else ""
        with self._runners.fresh() as runner:
            token.raise_if_cancelled()
            load_before = host_status().load
            raw = runner.benchmark(Path(resolved.path), spec, on_frame=watch.on_frame, cancel=token)
        if len(raw.latencies_ms) == 0:
            raise CancelledError(
                "Cancelled before the first measured inference.",
                hint="There is no partial result to keep.",
                code="cancelled",
            )
        run = _assemble(resolved, spec, raw, watch.noise(raw, load_before), run_id or new_id("bench"))
        if passed:
            run = replace(run, metadata=run.metadata | {"golden": passed})
        if resolved.version is not None and self._home_args:
            run = replace(run, command=f"{run.command} {shlex.join(self._home_args)}")
        return self._saved(run, raw) if save else run

    def _saved(self, run: BenchmarkRun, raw: RawBenchmark) -> BenchmarkRun:
        samples = pack_samples(raw)
        try:
            with self._artifacts.publishing():  # no collection between the samples and the run that names them
                saved = replace(run, samples_digest=self._artifacts.put_bytes(samples))
                self._state.add_benchmark(saved)
        except QuickServeError as error:
            raise UnsavedRunError(run, error) from error
        return saved

    def get(self, run_id: str) -> BenchmarkRun:
        """A saved run. Raises `NotFoundError` (`benchmark.not_found`)."""
        run = self._state.benchmark(run_id)
        if run is None:
            raise NotFoundError(
                f"There is no benchmark “{safe_text(run_id, 60)}”.",
                hint="The history of a model lists its runs.",
                code="benchmark.not_found",
            )
        return run

    def delete(self, run_id: str) -> None:
        """Forget a saved run. Raises `NotFoundError` (`benchmark.not_found`)."""
        self.get(run_id)
        self._state.remove_benchmark(run_id)

    def history(self, ref: str | None = None, limit: int = 100) -> tuple[BenchmarkRun, ...]:
        """Saved runs, newest first: all, or those of a model, a version or a file."""
        if ref is None:
            return self._state.benchmarks(limit=limit)
        parsed = parse_ref(ref)
        if isinstance(parsed, PathRef):
            path = self._catalog.resolve(ref).ref
            runs = self._state.benchmarks(model="", limit=MAX_HISTORY)
            return tuple(run for run in runs if run.ref == path)[:limit]
        model = self._catalog.show(ref).model
        number = select_version(model, parsed.selector).version if parsed.selector else None
        return self._state.benchmarks(model.id, number, limit)


def _assemble(
    resolved: Resolved, spec: BenchmarkSpec, raw: RawBenchmark, noise: HostNoise, run_id: str
) -> BenchmarkRun:
    fingerprint = take_fingerprint(
        resolved.digest,
        spec,
        pinned_cpus=tuple(raw.pinned_cpus),
        load_before=noise.load_before,
        load_after=host_status().load,
    )
    return BenchmarkRun(
        id=run_id,
        ref=resolved.ref,
        model=resolved.model.id if resolved.model else "",
        version=resolved.version.version if resolved.version else None,
        created_at=utc_now(),
        spec=spec,
        summary=summarise_run(raw, noise, spec),
        fingerprint=fingerprint,
        command=spec.command(resolved.ref),
    )


def pack_samples(raw: RawBenchmark) -> bytes:
    """The samples as an NPZ file: `starts_s` and `latencies_ms` of both phases, float64."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez(
        buffer,
        starts_s=np.asarray(raw.starts_s, dtype=np.float64),
        latencies_ms=np.asarray(raw.latencies_ms, dtype=np.float64),
        warmup_starts_s=np.asarray(raw.warmup_starts_s, dtype=np.float64),
        warmup_latencies_ms=np.asarray(raw.warmup_latencies_ms, dtype=np.float64),
    )
    return buffer.getvalue()
