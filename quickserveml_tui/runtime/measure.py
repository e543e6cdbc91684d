"""The closed-loop benchmark that runs inside the runner: one client, the next inference starts when the last ended."""

from __future__ import annotations

import gc
import os
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quickserveml_tui.core.benchmarks import MAX_SAMPLES, BenchmarkFrame, BenchmarkSpec, Phase
from quickserveml_tui.core.errors import CancelledError, DataError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.precision import PrecisionWatch
from quickserveml_tui.core.runners import RawBenchmark, Stretch
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.core.values import Value
from quickserveml_tui.runtime.binding import Bound, Call, bind
from quickserveml_tui.runtime.feeds import synthesize
from quickserveml_tui.runtime.host import ProcessSampler
from quickserveml_tui.runtime.meter import DisturbanceMeter, Disturbances, peak_rss_bytes
from quickserveml_tui.runtime.ort_errors import run_error
from quickserveml_tui.runtime.samples import Samples, thin

if TYPE_CHECKING:
    from quickserveml_tui.runtime.session import Session

FRAME_NS = 75_000_000
_SETTLED = 0.02

Emit = Callable[[BenchmarkFrame], None]


def run_closed_loop(session: Session, spec: BenchmarkSpec, emit: Emit, should_stop: Callable[[], bool]) -> RawBenchmark:
    """Warm up, then measure until the time or the number of runs is over, or `should_stop()` says so.

    Inputs are synthetic by `spec.feed` and bound once. `emit` gets a frame about every 75 ms and one with
    `Phase.DONE` at the end; it is called, like `should_stop`, between two inferences and never inside a timed one.
    At most `MAX_SAMPLES` inferences are timed. A run that is stopped, by `should_stop` or `session.terminate()`,
    returns what it has, also nothing. Raises `DataError` or `RunnerError` when an inference fails.
    """
    feeds = synthesize(session.inputs, spec.feed)
    with ProcessSampler(os.getpid()) as sampler, session.interruptible() as options:
        loop = _Loop(spec, emit, should_stop, sampler, session.path)
        loop.batch = batch_of(session.inputs, feeds, spec.feed)
        try:
            with _typed_errors(session.path):
                bound = bind(session, feeds, options)
            with _without_gc():
                loop.run(bound)
        except CancelledError:
            loop.cancelled = True
        return loop.result()


@contextmanager
def _typed_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise run_error(error, path, "onnxruntime") from error


@contextmanager
def _without_gc() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()


def batch_of(inputs: tuple[TensorSpec, ...], feeds: Mapping[str, Value], spec: FeedSpec) -> int:
    """Items in one inference.

    The size asked for by `spec.batch` where an input takes it; else the leading dim that is named like a batch, or that
    is fixed in an input of four dims or more (images). Other leading dims may be anything, such as a sequence: 1.
    """
    for tensor in inputs:
        if not tensor.shape or tensor.kind != "tensor" or feeds[tensor.name].ndim == 0:
            continue
        size, lead = int(feeds[tensor.name].shape[0]), tensor.shape[0]
        named = isinstance(lead, str) and (lead.lower() in ("n", "b") or "batch" in lead.lower())
        asked = spec.batch is not None and not isinstance(lead, int)
        if named or asked or (isinstance(lead, int) and len(tensor.shape) >= 4):
            return size
    return 1


class _Loop:
    """One benchmark under way."""

    def __init__(
        self, spec: BenchmarkSpec, emit: Emit, should_stop: Callable[[], bool], sampler: ProcessSampler, path: Path
    ) -> None:
        self._spec = spec
        self._emit = emit
        self._should_stop = should_stop
        self._sampler = sampler
        self._path = path
        self._call: Call = _nothing
        self._fallback: Call | None = None
        self._warmup = Samples()
        self._measured = Samples()
        self._origin_ns = time.perf_counter_ns()
        self._base_peak = peak_rss_bytes()
        self._rss = 0
        self._cpu_s = 0.0
        self._paused_ns = 0
        self._meter = DisturbanceMeter()
        self._first: Disturbances | None = None
        self._last: Disturbances | None = None
        self._stretches = array("d")
        self._stretch_end = 0
        self._precision = None if spec.precision is None else PrecisionWatch(spec.precision_of, spec.precision)
        self._precise = False
        self._peak_before_looks: int | None = None
        self.batch = 1
        self.cancelled = False

    def run(self, bound: Bound) -> None:
        """Both phases."""
        self._call, self._fallback = bound.call, bound.fallback
        self._origin_ns = time.perf_counter_ns()
        if self._spec.warmup_s > 0:
            self._phase(self._warmup, Phase.WARMUP, self._spec.warmup_s, MAX_SAMPLES)
        if self.cancelled:
            return
        self._cpu_s, self._paused_ns = 0.0, 0
        self._first = self._last = self._meter.read()
        try:
            limit = min(self._spec.max_runs or MAX_SAMPLES, MAX_SAMPLES)
            self._phase(self._measured, Phase.MEASURING, self._spec.duration_s, limit)
        finally:
            self._count_disturbances(self._measured.count)
            self._meter.close()

    def _count_disturbances(self, end: int) -> None:
        """Keep what was counted since the last look, up to the inference `end`, where that is not nothing."""
        now, last = self._meter.read(), self._last
        if now is None or last is None:
            return
        begin = self._stretch_end
        self._last, self._stretch_end = now, end
        row = (now.preemptions - last.preemptions, now.major_faults - last.major_faults, now.steal_s - last.steal_s)
        if end > begin and any(row):
            self._stretches.extend((begin, end, *row))

    def _is_precise(self) -> bool:
        """Whether the figure that was asked for is known well enough; one inference after a look warms the caches."""
        watch = self._precision
        if watch is None or not watch.is_due(self._measured.count):
            return False
        if self._peak_before_looks is None:
            self._peak_before_looks = (peak_rss_bytes() or 0) - self._own_bytes
        starts, ends = self._measured.slice()
        self._precise = watch.is_reached((ends - starts) / 1e6)
        if not self._precise:
            with _typed_errors(self._path):
                self._call()
        return self._precise

    def _phase(self, samples: Samples, phase: Phase, duration_s: float, limit: int) -> None:
        now = time.perf_counter_ns()
        deadline = now + int(duration_s * 1e9)
        shown, medians, ended_ns = 0, [], 0
        try:
            while now < deadline and samples.count < limit:
                if self._should_stop():
                    self.cancelled = True
                    return
                began_cpu, began_ns = time.process_time(), time.perf_counter_ns()
                self._paused_ns += began_ns - ended_ns if ended_ns else 0
                now = ended_ns = self._measure(samples, min(began_ns + FRAME_NS, deadline), limit)
                busy_s = time.process_time() - began_cpu
                self._cpu_s += busy_s
                starts, ends = samples.slice(shown)
                shown = samples.count
                self._send(phase, samples, starts, ends, 100 * busy_s / max((now - began_ns) / 1e9, 1e-9))
                if phase is Phase.MEASURING:
                    self._count_disturbances(samples.count)
                    if self._is_precise():
                        return
                else:
                    medians.append(float(np.median(ends - starts)))
                    if samples.count >= self._spec.warmup_runs and _has_settled(medians):
                        return
        finally:
            if samples.count > shown:  # the inference that raised came after others of the same stretch
                self._send(phase, samples, *samples.slice(shown), None)

    def _measure(self, samples: Samples, wake_ns: int, limit: int) -> int:
        """`Samples.measure` with the call; an error of one that reuses its output buffers is tried without, once."""
        try:
            with _typed_errors(self._path):
                return samples.measure(self._call, wake_ns, limit)
        except DataError:
            if self._fallback is None:
                raise
            self._call, self._fallback = self._fallback, None
            return self._measure(samples, wake_ns, limit)

    def _send(
        self,
        phase: Phase,
        samples: Samples,
        starts: np.ndarray[Any, Any],
        ends: np.ndarray[Any, Any],
        cpu_percent: float | None,
    ) -> None:
        latencies = ends - starts
        kept = thin(latencies)
        memory = self._sampler.memory()
        own = self._own_bytes
        rss = None if memory is None else max(memory.rss_bytes - own, 0)
        self._rss = max(self._rss, rss or 0)
        self._emit(
            BenchmarkFrame(
                phase=phase,
                elapsed_s=(time.perf_counter_ns() - self._origin_ns) / 1e9,
                starts_s=tuple(((starts[kept] - self._origin_ns) / 1e9).tolist()),
                latencies_ms=tuple((latencies[kept] / 1e6).tolist()),
                count=samples.count,
                dropped=int(latencies.size - kept.size),
                cpu_percent=cpu_percent,
                rss_bytes=rss,
                rss_anon_bytes=None if memory is None else max(memory.anon_bytes - own, 0),
                batch=self.batch,
            )
        )

    def result(self) -> RawBenchmark:
        """The samples so far; sends the last frame."""
        warmup_starts, warmup_ends = self._warmup.slice()
        starts, ends = self._measured.slice()
        peak = self._peak_rss()
        self._emit(
            BenchmarkFrame(
                Phase.DONE, (time.perf_counter_ns() - self._origin_ns) / 1e9, (), (), self._measured.count,
                rss_bytes=peak, batch=self.batch,
            )
        )  # fmt: skip
        return RawBenchmark(
            warmup_starts_s=self._seconds(warmup_starts),
            warmup_latencies_ms=_milliseconds(warmup_ends - warmup_starts),
            starts_s=self._seconds(starts),
            latencies_ms=_milliseconds(ends - starts),
            cpu_s=self._cpu_s,
            peak_rss_bytes=peak,
            batch=self.batch,
            pinned_cpus=_pinned_cpus(),
            cancelled=self.cancelled,
            paused_s=self._paused_ns / 1e9,
            preemptions=self._preemptions(),
            stretches=np.array(self._stretches).reshape(-1, len(Stretch._fields)),
            precise=self._precise,
        )

    @property
    def _own_bytes(self) -> int:
        """Memory that what was measured takes."""
        return self._warmup.size_bytes + self._measured.size_bytes + len(self._stretches) * self._stretches.itemsize

    def _preemptions(self) -> int | None:
        first, last = self._first, self._last
        return None if first is None or last is None else last.preemptions - first.preemptions

    def _seconds(self, clock: np.ndarray[Any, Any]) -> Any:
        return (clock - self._origin_ns) / 1e9

    def _peak_rss(self) -> int | None:
        """Peak memory of the model, loading included; without what the samples, and looking at them, take."""
        peak = peak_rss_bytes()
        if peak is None:
            return self._rss or None
        own_peak = peak - self._own_bytes if self._peak_before_looks is None else self._peak_before_looks
        return max(self._base_peak or 0, own_peak, self._rss)


def _nothing() -> None:
    """Stands for the call before there is one."""


def _milliseconds(spans: np.ndarray[Any, Any]) -> Any:
    return spans / 1e6


def _has_settled(medians: list[float]) -> bool:
    """Whether the median latency of the last three frames stayed within 2 %."""
    last = medians[-3:]
    return len(last) == 3 and max(last) - min(last) <= _SETTLED * min(last)


def _pinned_cpus() -> tuple[int, ...]:
    """The CPUs that this process is confined to; empty when it may use all."""
    if not hasattr(os, "sched_getaffinity"):
        return ()
    cpus = os.sched_getaffinity(0)
    return tuple(sorted(cpus)) if len(cpus) < (os.cpu_count() or 1) else ()
