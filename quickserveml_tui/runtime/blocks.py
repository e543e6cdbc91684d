"""A bound inference that is measured in short blocks, so that several runners can take turns."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, cast

from quickserveml_tui.core.benchmarks import MAX_SAMPLES, BenchmarkSpec
from quickserveml_tui.core.errors import CancelledError, DataError
from quickserveml_tui.core.runners import Block
from quickserveml_tui.runtime.binding import Call, bind
from quickserveml_tui.runtime.feeds import feed_shapes, synthesize
from quickserveml_tui.runtime.host import ProcessSampler
from quickserveml_tui.runtime.measure import batch_of
from quickserveml_tui.runtime.meter import peak_rss_bytes, preemptions
from quickserveml_tui.runtime.ort_errors import run_error
from quickserveml_tui.runtime.samples import Samples

if TYPE_CHECKING:
    from quickserveml_tui.runtime.session import Session


class BlockProbe:
    """One inference of a session, timed in blocks. The garbage collector rests until `close`."""

    def __init__(self, session: Session, spec: BenchmarkSpec) -> None:
        feeds = synthesize(session.inputs, spec.feed)
        self._path: Path = session.path
        self.terminate = session.terminate
        """Stops a block under way; from any thread."""
        self._stack = ExitStack()
        self._sampler = self._stack.enter_context(ProcessSampler(os.getpid()))
        options = self._stack.enter_context(session.interruptible())
        try:
            bound = bind(session, feeds, options)
        except Exception as error:
            self._stack.close()
            raise run_error(error, self._path, "onnxruntime") from error
        self._call: Call = bound.call
        self._fallback = bound.fallback
        self.batch = batch_of(session.inputs, feeds, spec.feed)
        self.shapes = feed_shapes(session.inputs, spec.feed)
        self._samples = Samples()
        was_enabled = gc.isenabled()
        gc.collect()
        gc.freeze()
        gc.disable()
        self._stack.callback(gc.enable if was_enabled else gc.disable)
        self._stack.callback(gc.unfreeze)

    def measure(self, seconds: float, limit: int = MAX_SAMPLES) -> Block:
        """Time inferences until one ends after `seconds`, or `limit` of them.

        A block that is stopped has what was measured until then. Raises `DataError` or `RunnerError` when an inference
        fails.
        """
        samples = Samples()
        before, cpu = preemptions(), time.process_time()
        cancelled = False
        try:
            self._timed(samples, time.perf_counter_ns() + int(seconds * 1e9), limit)
        except CancelledError:
            cancelled = True
        cpu_s, after = time.process_time() - cpu, preemptions()
        starts, ends = samples.slice()
        memory = self._sampler.memory()
        return Block(
            starts_ns=cast("Sequence[int]", starts),
            latencies_ms=cast("Sequence[float]", (ends - starts) / 1e6),
            cpu_s=cpu_s,
            preemptions=None if after is None or before is None else after - before,
            rss_bytes=None if memory is None else memory.rss_bytes,
            peak_rss_bytes=peak_rss_bytes(),
            cancelled=cancelled,
        )

    def _timed(self, samples: Samples, wake_ns: int, limit: int) -> None:
        """`Samples.measure`; an error of a call that reuses its output buffers is tried without, once."""
        try:
            samples.measure(self._call, wake_ns, limit)
        except Exception as error:
            failure = run_error(error, self._path, "onnxruntime")
            if self._fallback is None or not isinstance(failure, DataError):
                raise failure from error
            self._call, self._fallback = self._fallback, None
            self._timed(samples, wake_ns, limit)

    def close(self) -> None:
        """Let the collector work again."""
        self._stack.close()
