"""The parent's side of a runner: starts the process, makes calls, names its death."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from quickserveml_tui.core.benchmarks import BenchmarkFrame, BenchmarkSpec
from quickserveml_tui.core.compatibility import Conversion, RuntimeLimits
from quickserveml_tui.core.errors import (
    CancelledError,
    DataError,
    QuickServeError,
    RunnerError,
    RunnerTimeoutError,
    UsageError,
)
from quickserveml_tui.core.facts import LayerPage, ModelFacts, ModelHeader
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.golden import ValueDifference
from quickserveml_tui.core.jobs import CancelToken, Progress, ProgressSink
from quickserveml_tui.core.models import TrialReport
from quickserveml_tui.core.predictions import BatchResult, BatchSpec, Prediction
from quickserveml_tui.core.runners import Block, FrameSink, RawBenchmark
from quickserveml_tui.runtime import calls, packing, protocol
from quickserveml_tui.runtime.child import Child, start_child
from quickserveml_tui.runtime.cores import CORES
from quickserveml_tui.runtime.limits import DEFAULT_LIMITS, RunnerLimits, file_bytes, model_bytes
from quickserveml_tui.runtime.partial import PartialBenchmark
from quickserveml_tui.runtime.second_try import try_model
from quickserveml_tui.runtime.trial_report import OUT_OF_MEMORY
from quickserveml_tui.runtime.watch import Watch

_T = TypeVar("_T")
_LET_GO_S = 2.0
REFERENCE_TRIALS = 2
"""How many times as long as a trial the evaluator of the `onnx` package may take: it is slow, and must not hang."""
_SLICE_S = 0.1  # how soon a cancel or limit is seen


class RunnerProcess:
    """A child process that opens models (`core.ports.ModelRunner`).

    Starting does not wait for the child: the first call does. `measured` runs benchmarks on cores of their own.
    """

    def __init__(
        self,
        log_dir: Path | None,
        *,
        limits: RunnerLimits = DEFAULT_LIMITS,
        measured: bool = False,
        preload: bool = False,
    ) -> None:
        self._bounds = limits
        self._measured = measured
        self._log_dir = log_dir
        self._worn = False
        self._child: Child = start_child(log_dir, preload=preload)
        self._hello: protocol.Hello | None = None
        self._closed = False
        self._next_id = 1
        self._call_lock = threading.RLock()
        self._send_lock = threading.Lock()
        # Also at interpreter exit: no runner outlives its parent, whatever the kernel offers.
        self._finalizer = weakref.finalize(self, Child.dispose, self._child)

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._child.process.pid

    @property
    def alive(self) -> bool:
        """Whether the child can take another call."""
        return not self._closed and self._child.process.poll() is None

    @property
    def worn(self) -> bool:
        """Whether a model took all its memory, some of which the process may still hold."""
        return self._worn

    def runtime(self, cancel: CancelToken | None = None) -> str:
        """Name and version of the runtime in the child."""
        return self.wait_ready(cancel).runtime

    def wait_ready(self, cancel: CancelToken | None = None) -> protocol.Hello:
        """What the child said of itself, once it has started.

        Raises `RunnerCrashedError`, `RunnerTimeoutError`, and `CancelledError`: a cancel ends a child that starts.
        """
        with self._call_lock:
            if self._hello is None:
                deadline = time.monotonic() + self._bounds.start_s
                forget = cancel.on_cancel(self._child.process.kill) if cancel is not None else None
                try:
                    message = self._receive(lambda: deadline, lambda: None)
                except RunnerError:
                    if cancel is not None:
                        cancel.raise_if_cancelled()
                    raise
                finally:
                    if forget is not None:
                        forget()
                if not isinstance(message, protocol.Hello) or message.protocol != protocol.PROTOCOL_VERSION:
                    self._child.end()
                    raise RunnerError("The runner speaks another protocol.", hint="Install the program again.")
                self._hello = message
            return self._hello

    # ---- operations

    def external_files(self, path: Path) -> tuple[str, ...]:
        """Relative paths of the external data that the model refers to; raises `ModelError` for one that escapes."""
        args = calls.ReadArgs(_raw(path), self._bounds.memory_bytes)
        return self._call("external_files", args, tuple[str, ...], self._bounds.read_limit_s(file_bytes(path)))

    def limits(self) -> RuntimeLimits:
        """The newest formats that the runtime takes, found by trying."""
        return self._call("limits", calls.NoArgs(), RuntimeLimits, self._bounds.read_s)

    def read_header(self, path: Path) -> ModelHeader:
        """What the model file says at once, in milliseconds whatever its size."""
        args = calls.ReadArgs(_raw(path), self._bounds.memory_bytes)
        return self._call("read_header", args, ModelHeader, self._bounds.read_limit_s(file_bytes(path)))

    def read_totals(self, path: Path) -> ModelFacts:
        """Facts of the model file without what shape inference and the checker find: `macs` is None."""
        args = calls.ReadArgs(_raw(path), self._bounds.memory_bytes)
        return self._call("read_totals", args, ModelFacts, self._bounds.read_limit_s(file_bytes(path)))

    def read_facts(self, path: Path) -> ModelFacts:
        """Facts of the model file."""
        args = calls.ReadArgs(_raw(path), self._bounds.memory_bytes)
        return self._call("read_facts", args, ModelFacts, self._bounds.read_limit_s(file_bytes(path)))

    def read_layers(self, path: Path, offset: int = 0, limit: int = 10_000, *, shapes: bool = True) -> LayerPage:
        """A part of the layer table; without `shapes` at once, as far as the nodes themselves tell."""
        args = calls.LayersArgs(_raw(path), offset, limit, self._bounds.memory_bytes, shapes)
        return self._call("read_layers", args, LayerPage, self._bounds.read_limit_s(file_bytes(path)))

    def trial(self, path: Path, feed: FeedSpec, *, nodes: int = 0, cancel: CancelToken | None = None) -> TrialReport:
        """Load the model and run it once on synthetic inputs; never raises for what the model does.

        Where made-up integers end the process, it is run once more in a new one, within the same limit, with nothing
        but 1 in them: 0 as a divisor or a step is a fault of the inputs and not of the model.
        """
        runtime = self.wait_ready(cancel).runtime
        limit_s = self._bounds.trial_limit_s(model_bytes(path), nodes)

        def attempt(values: FeedSpec, left_s: float, on_loaded: Callable[[bytes], None]) -> TrialReport:
            args = calls.TrialArgs(_raw(path), values, self._bounds.memory_bytes)
            return self._call("trial", args, TrialReport, left_s, cancel=cancel, on_event=on_loaded)

        with self._call_lock:
            report = try_model(attempt, self._restart, feed, limit_s, runtime)
        self._worn = self._worn or report.code == OUT_OF_MEMORY
        return report

    def _restart(self) -> None:
        """Go on with a new child in place of one that died."""
        self._finalizer()
        self._hello = None
        self._child = start_child(self._log_dir, preload=False)
        self._finalizer = weakref.finalize(self, Child.dispose, self._child)
        if self._closed:  # meanwhile, so that `close` ended the one before
            self._child.end()

    def predict(
        self,
        path: Path,
        *,
        inputs: Path | Mapping[str, Any] | None,
        feed: FeedSpec,
        keep_inputs: bool = False,
        cancel: CancelToken | None = None,
    ) -> Prediction:
        """One inference on an NPZ or JSON file, on values by name, or on synthetic inputs.

        With `keep_inputs` the result has the inputs as well.
        """
        args = calls.PredictArgs(
            _raw(path),
            feed,
            inputs_path=_raw(inputs) if isinstance(inputs, Path) else b"",
            inputs=_packed(inputs) if isinstance(inputs, Mapping) else None,
            keep_inputs=keep_inputs,
            memory_bytes=self._bounds.memory_bytes,
        )
        result = self._call("predict", args, calls.PredictResult, self._bounds.predict_s, cancel=cancel)
        return Prediction(
            outputs=_unpacked(result.outputs),
            dtypes=result.dtypes,
            latency_ms=result.latency_ms,
            ref=str(path),
            synthetic=result.synthetic,
            inputs=_unpacked(result.inputs),
            runtime=result.runtime,
        )

    def compare(
        self,
        path: Path,
        *,
        inputs: Path,
        outputs: Path,
        rtol: float,
        atol: float,
        cancel: CancelToken | None = None,
    ) -> tuple[tuple[ValueDifference, ...], float]:
        """Run on inputs from a file, and hold the outputs against those in another; with the time of the run in ms."""
        args = calls.CompareArgs(_raw(path), _raw(inputs), _raw(outputs), rtol, atol, self._bounds.memory_bytes)
        result = self._call("compare", args, calls.CompareResult, self._bounds.predict_s, cancel=cancel)
        return result.differences, result.run_ms

    def convert(self, path: Path, target: Path, *, opset: int | None, ir_version: int | None) -> Conversion:
        """Write the model at `path` to `target` with another opset and IR version; external data goes beside it."""
        args = calls.ConvertArgs(_raw(path), _raw(target), opset, ir_version, self._bounds.memory_bytes)
        return self._call("convert", args, Conversion, self._bounds.predict_s)

    def reference(
        self, path: Path, *, inputs: Mapping[str, Any], cancel: CancelToken | None = None
    ) -> Mapping[str, Any]:
        """Outputs by name of the `onnx` package's own, slow evaluator, for what the runtime cannot run."""
        args = calls.ReferenceArgs(_raw(path), _packed(inputs), self._bounds.memory_bytes)
        limit_s = round(REFERENCE_TRIALS * self._bounds.trial_limit_s(model_bytes(path)), 1)
        return _unpacked(self._call("reference", args, dict[str, Any], limit_s, cancel=cancel))

    def benchmark(self, path: Path, spec: BenchmarkSpec, *, on_frame: FrameSink, cancel: CancelToken) -> RawBenchmark:
        """Warm up and measure, pushing frames; on cancel the partial result comes back."""
        partial = PartialBenchmark(self.pid)

        def take(body: bytes) -> None:
            frame = msgspec.msgpack.decode(body, type=BenchmarkFrame)
            partial.add(frame)
            on_frame(frame)

        limit_s = spec.warmup_s + spec.duration_s + self._bounds.idle_s
        self.wait_ready(cancel)
        with partial, CORES.lease(spec.intra_op_threads if self._measured else 0) as cpus:
            args = calls.BenchmarkArgs(_raw(path), spec, cpus, self._bounds.memory_bytes)
            try:
                packed = self._call("benchmark", args, dict[str, Any], limit_s, cancel=cancel, on_event=take)
            except CancelledError:
                if self._closed:
                    raise
                return partial.result(cpus)
        return calls.to_raw_benchmark(packed)

    def prepare_blocks(self, path: Path, spec: BenchmarkSpec, *, cpus: tuple[int, ...], cancel: CancelToken) -> int:
        """Load the model and bind its inputs for `measure_block`; returns the items of one inference."""
        args = calls.BenchmarkArgs(_raw(path), spec, cpus, self._bounds.memory_bytes)
        limit_s = self._bounds.trial_limit_s(model_bytes(path))
        return self._call("prepare_blocks", args, int, limit_s, cancel=cancel)

    def measure_block(self, seconds: float, *, cancel: CancelToken) -> Block:
        """Time inferences until one ends after `seconds`; on cancel what there is of the block comes back."""
        limit_s = seconds + self._bounds.idle_s
        packed = self._call("measure_block", calls.BlockArgs(seconds), dict[str, Any], limit_s, cancel=cancel)
        return calls.to_block(packed)

    def batch(
        self, path: Path, data: Path, spec: BatchSpec, *, on_progress: ProgressSink, cancel: CancelToken
    ) -> BatchResult:
        """Run a data set (CSV or NPZ) through the model; on cancel the partial result comes back."""
        args = calls.BatchArgs(_raw(path), _raw(data), spec, self._bounds.memory_bytes)

        def take(body: bytes) -> None:
            on_progress(msgspec.msgpack.decode(body, type=Progress))

        return self._call(
            "batch", args, BatchResult, self._bounds.idle_s, cancel=cancel, on_event=take, renew_limit=True
        )

    def close(self) -> None:
        """End the process; a call under way in another thread raises `CancelledError`. Safe to call twice."""
        self._closed = True
        self._child.end()
        # The call under way sees the end of the pipe and lets go, unless its callback waits for this very thread.
        if self._call_lock.acquire(timeout=_LET_GO_S):
            try:
                self._finalizer()
            finally:
                self._call_lock.release()

    # ---- calls

    def _call(
        self,
        op: str,
        args: msgspec.Struct,
        result: type[_T],
        limit_s: float,
        *,
        cancel: CancelToken | None = None,
        on_event: Callable[[bytes], None] | None = None,
        renew_limit: bool = False,
    ) -> _T:
        """Make a call and wait for its result; `renew_limit` counts the limit from the last event."""
        with self._call_lock:
            self.wait_ready(cancel)
            if cancel is not None:
                cancel.raise_if_cancelled()
            call_id, self._next_id = self._next_id, self._next_id + 1
            watch = Watch(limit_s, self._bounds.grace_s, lambda: self._send(protocol.Cancel(call_id)))
            body = _encoded(args)
            if len(body) > protocol.MAX_BODY_BYTES:
                raise DataError("The inputs are over 1 GB.", hint="Run them in batches.", code="data.too_large")
            self._send(protocol.Call(call_id, op, body))
            forget = cancel.on_cancel(watch.cancel) if cancel is not None else None
            try:
                answer = self._await(call_id, watch, on_event, renew_limit=renew_limit)
            except BaseException:  # a callback that raised, Ctrl-C: nobody waits for the answer any more
                self._child.end()
                raise
            finally:
                if forget is not None:
                    forget()
            if isinstance(answer, protocol.Failed):
                error = protocol.to_error(answer)
                self._worn = self._worn or error.code == OUT_OF_MEMORY
                raise watch.translate(error)
            return msgspec.msgpack.decode(answer.body, type=result)

    def _await(
        self, call_id: int, watch: Watch, on_event: Callable[[bytes], None] | None, *, renew_limit: bool
    ) -> protocol.Done | protocol.Failed:
        while True:
            message = self._receive(watch.deadline, watch.expire)
            if isinstance(message, protocol.Hello) or message.id != call_id:
                continue
            if isinstance(message, protocol.Done | protocol.Failed):
                return message
            if renew_limit:
                watch.renew()
            if on_event is not None:
                on_event(message.body)

    def _send(self, message: protocol.FromParent) -> None:
        try:
            with self._send_lock:
                protocol.send(self._child.connection, message)
        except OSError:
            return  # the child is gone; whoever waits for its answer learns why

    def _receive(
        self, deadline: Callable[[], float], expire: Callable[[], QuickServeError | None]
    ) -> protocol.FromChild:
        """The next message. When the deadline has passed, `expire` may move it, or name the error to raise."""
        connection = self._child.connection
        try:
            while not connection.poll(min(max(deadline() - time.monotonic(), 0.0), _SLICE_S)):
                if time.monotonic() < deadline():
                    continue
                error = expire() if self._hello else RunnerTimeoutError("The runner did not start in time.")
                if error is not None:
                    self._child.end()
                    raise error
            return protocol.receive_from_child(connection)
        except (EOFError, OSError) as error:
            if self._closed:
                raise CancelledError("The runner was closed.") from error
            raise self._child.death(started=self._hello is not None) from error


def _encoded(args: Any) -> bytes:
    try:
        return msgspec.msgpack.encode(args)
    except UnicodeEncodeError as error:  # a command line may hold any bytes
        raise UsageError("A name or text for the model is not valid UTF-8.", hint="Write it in UTF-8.") from error


def _raw(path: Path) -> bytes:
    return os.fsencode(path.absolute())


def _packed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name): packing.pack(value) for name, value in values.items()}


def _unpacked(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: packing.unpack(value) for name, value in values.items()}
