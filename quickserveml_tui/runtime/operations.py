"""What a runner can do: one function per operation, registered by name with the type of its arguments."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from quickserveml_tui.core.benchmarks import BenchmarkSpec
from quickserveml_tui.core.compatibility import Conversion, RuntimeLimits
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.facts import LayerPage, ModelFacts, ModelHeader
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.models import TrialReport
from quickserveml_tui.core.predictions import BatchResult
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.runtime import host
from quickserveml_tui.runtime.calls import (
    BatchArgs,
    BenchmarkArgs,
    BlockArgs,
    CompareArgs,
    CompareResult,
    ConvertArgs,
    LayersArgs,
    NoArgs,
    PredictArgs,
    PredictResult,
    ReadArgs,
    ReferenceArgs,
    RunArgs,
    SessionArgs,
    SessionInfo,
    TrialArgs,
)
from quickserveml_tui.runtime.packing import pack, unpack
from quickserveml_tui.runtime.session import Session, runtime_name
from quickserveml_tui.runtime.session_cache import SessionCache
from quickserveml_tui.runtime.settings import SessionSettings

if TYPE_CHECKING:
    from quickserveml_tui.runtime.blocks import BlockProbe


@dataclass
class Kept:
    """What an operation leaves for later ones of the same runner."""

    probe: BlockProbe | None = None


@dataclass(frozen=True)
class Context:
    """What an operation works with."""

    sessions: SessionCache
    cancel: CancelToken
    emit: Callable[[Any], None]
    """Sends a frame or a progress report to the parent."""
    kept: Kept


@dataclass(frozen=True)
class Operation:
    """An entry of the registry."""

    args: type[Any]
    run: Callable[[Context, Any], Any]
    """Returns what `msgspec` can encode."""


def _path(raw: bytes) -> Path:
    return Path(os.fsdecode(raw))


def _external_files(context: Context, args: ReadArgs) -> tuple[str, ...]:
    from quickserveml_tui.graph.external import external_files

    context.sessions.make_room(_path(args.path), args.memory_bytes)
    return external_files(_path(args.path))


def _limits(_context: Context, _args: NoArgs) -> RuntimeLimits:
    from quickserveml_tui.runtime.compatibility import probe_limits

    return probe_limits()


def _read_header(context: Context, args: ReadArgs) -> ModelHeader:
    from quickserveml_tui.graph.header import read_header

    context.sessions.make_room(_path(args.path), args.memory_bytes)
    return read_header(_path(args.path))


def _read_totals(context: Context, args: ReadArgs) -> ModelFacts:
    from quickserveml_tui.graph.facts import read_totals

    context.sessions.make_room(_path(args.path), args.memory_bytes)
    return read_totals(_path(args.path))


def _read_facts(context: Context, args: ReadArgs) -> ModelFacts:
    from quickserveml_tui.graph.facts import read_facts

    context.sessions.make_room(_path(args.path), args.memory_bytes)
    return read_facts(_path(args.path))


def _read_layers(context: Context, args: LayersArgs) -> LayerPage:
    from quickserveml_tui.graph.layers import read_layers

    context.sessions.make_room(_path(args.path), args.memory_bytes)
    return read_layers(_path(args.path), args.offset, args.limit, shapes=args.shapes)


def _trial(context: Context, args: TrialArgs) -> TrialReport:
    from quickserveml_tui.runtime.trial import run_trial

    return run_trial(
        context.sessions, _path(args.path), args.feed, context.cancel, args.memory_bytes, on_loaded=context.emit
    )


def _predict(context: Context, args: PredictArgs) -> PredictResult:
    from quickserveml_tui.runtime.inputs import fit_inputs, load_inputs
    from quickserveml_tui.runtime.probing import find_feeds

    path = _path(args.path)
    session = context.sessions.open(path, SessionSettings(), args.memory_bytes)
    if args.inputs is not None:
        feeds = fit_inputs({name: unpack(value) for name, value in args.inputs.items()}, session.inputs)
    elif args.inputs_path:
        feeds = load_inputs(_path(args.inputs_path), session.inputs)
    else:
        found = find_feeds(session, args.feed, context.cancel)
        result = _prediction(session.outputs, found.outputs, found.run_ms, synthetic=True)
        return _with_inputs(result, found.feeds) if args.keep_inputs else result
    outputs, run_ms = _timed_run(session, feeds, context.cancel)
    result = _prediction(session.outputs, outputs, run_ms, synthetic=False)
    return _with_inputs(result, feeds) if args.keep_inputs else result


def _timed_run(session: Session, feeds: Mapping[str, Any], cancel: CancelToken) -> tuple[dict[str, Any], float]:
    begin = time.perf_counter_ns()
    outputs = session.run(feeds, cancel=cancel)
    return outputs, (time.perf_counter_ns() - begin) / 1e6


def _with_inputs(result: PredictResult, feeds: Mapping[str, Any]) -> PredictResult:
    return msgspec.structs.replace(result, inputs={name: pack(value) for name, value in feeds.items()})


def _prediction(
    specs: tuple[TensorSpec, ...], outputs: Mapping[str, Any], latency_ms: float, *, synthetic: bool
) -> PredictResult:
    return PredictResult(
        outputs={name: pack(value) for name, value in outputs.items()},
        dtypes={spec.name: _type_of(spec, outputs[spec.name]) for spec in specs},
        latency_ms=latency_ms,
        synthetic=synthetic,
        runtime=runtime_name(),
    )


def _type_of(spec: TensorSpec, value: Any) -> str:
    """The dtype of what came out, which says more than an unknown type; the whole type for what is no tensor."""
    from quickserveml_tui.runtime.dtypes import onnx_name

    return onnx_name(value.dtype) if spec.kind == "tensor" and hasattr(value, "dtype") else spec.dtype


def _compare(context: Context, args: CompareArgs) -> CompareResult:
    from quickserveml_tui.runtime.compare import compare_values
    from quickserveml_tui.runtime.inputs import fit_inputs
    from quickserveml_tui.runtime.value_files import load_values

    session = context.sessions.open(_path(args.path), SessionSettings(), args.memory_bytes)
    feeds = fit_inputs(load_values(_path(args.inputs_path)), session.inputs)
    outputs, run_ms = _timed_run(session, feeds, context.cancel)
    expected = load_values(_path(args.outputs_path))
    return CompareResult(compare_values(expected, outputs, args.rtol, args.atol), run_ms)


def _convert(context: Context, args: ConvertArgs) -> Conversion:
    from quickserveml_tui.graph.convert import convert_file

    context.sessions.make_room(_path(args.path), args.memory_bytes)
    return convert_file(_path(args.path), _path(args.target), args.opset, args.ir_version)


def _reference(context: Context, args: ReferenceArgs) -> dict[str, Any]:
    from quickserveml_tui.graph.reference import evaluate

    context.sessions.make_room(_path(args.path), args.memory_bytes)
    outputs = evaluate(_path(args.path), {name: unpack(value) for name, value in args.inputs.items()})
    return {name: pack(value) for name, value in outputs.items()}


def _settings(spec: BenchmarkSpec) -> SessionSettings:
    return SessionSettings(
        intra_op_threads=spec.intra_op_threads,
        inter_op_threads=spec.inter_op_threads,
        spinning=spec.spinning,
        optimization=spec.optimization,
        provider=spec.provider,
    )


def _with_shapes(session: Session, spec: BenchmarkSpec, cancel: CancelToken) -> BenchmarkSpec:
    """The spec with shapes and ranges of the inputs spelled out where the model leaves open which ones work."""
    from quickserveml_tui.runtime.probing import find_feeds, is_ambiguous

    if not is_ambiguous(session.inputs, spec.feed):
        return spec
    found = find_feeds(session, spec.feed, cancel)
    return dataclasses.replace(spec, feed=dataclasses.replace(found.feed, shapes=found.shapes))


def _benchmark(context: Context, args: BenchmarkArgs) -> dict[str, Any]:
    from quickserveml_tui.runtime.feeds import feed_shapes
    from quickserveml_tui.runtime.measure import run_closed_loop

    if args.cpus:
        host.pin_main_thread(args.cpus)
    session = context.sessions.open(_path(args.path), _settings(args.spec), args.memory_bytes)
    spec = _with_shapes(session, args.spec, context.cancel)
    forget = context.cancel.on_cancel(session.terminate)
    try:
        raw = run_closed_loop(session, spec, context.emit, lambda: context.cancel.cancelled)
    finally:
        forget()
    raw = dataclasses.replace(raw, shapes=feed_shapes(session.inputs, spec.feed))
    return _packed(raw)


def _prepare_blocks(context: Context, args: BenchmarkArgs) -> int:
    from quickserveml_tui.runtime.blocks import BlockProbe

    if args.cpus:
        host.pin_main_thread(args.cpus)
    if context.kept.probe is not None:
        context.kept.probe.close()
        context.kept.probe = None
    session = context.sessions.open(_path(args.path), _settings(args.spec), args.memory_bytes)
    probe = BlockProbe(session, _with_shapes(session, args.spec, context.cancel))
    context.kept.probe = probe
    return probe.batch


def _measure_block(context: Context, args: BlockArgs) -> dict[str, Any]:
    probe = context.kept.probe
    if probe is None:
        raise UsageError("No model is prepared.", hint="Call prepare_blocks first.", code="usage.block")
    forget = context.cancel.on_cancel(probe.terminate)
    try:
        return _packed(probe.measure(args.seconds))
    finally:
        forget()


def _packed(record: Any) -> dict[str, Any]:
    return {field.name: pack(_plain(getattr(record, field.name))) for field in dataclasses.fields(record)}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _batch(context: Context, args: BatchArgs) -> BatchResult:
    from quickserveml_tui.runtime.batch import run_batch

    settings = SessionSettings(intra_op_threads=args.spec.intra_op_threads)
    session = context.sessions.open(_path(args.path), settings, args.memory_bytes)
    forget = context.cancel.on_cancel(session.terminate)
    try:
        return run_batch(session, _path(args.data), args.spec, context.emit, lambda: context.cancel.cancelled)
    finally:
        forget()


def _open_session(context: Context, args: SessionArgs) -> SessionInfo:
    session = context.sessions.open(_path(args.path), args.settings, None)
    return SessionInfo(session.inputs, session.outputs, session.provider)


def _run_session(context: Context, args: RunArgs) -> dict[str, Any]:
    session = context.sessions.open(_path(args.path), args.settings, None)
    feeds = {name: unpack(value) for name, value in args.feeds.items()}
    outputs = session.run(feeds, args.names, context.cancel)
    return {name: pack(value) for name, value in outputs.items()}


OPERATIONS: dict[str, Operation] = {
    "external_files": Operation(ReadArgs, _external_files),
    "limits": Operation(NoArgs, _limits),
    "read_header": Operation(ReadArgs, _read_header),
    "read_totals": Operation(ReadArgs, _read_totals),
    "read_facts": Operation(ReadArgs, _read_facts),
    "read_layers": Operation(LayersArgs, _read_layers),
    "trial": Operation(TrialArgs, _trial),
    "predict": Operation(PredictArgs, _predict),
    "compare": Operation(CompareArgs, _compare),
    "convert": Operation(ConvertArgs, _convert),
    "reference": Operation(ReferenceArgs, _reference),
    "benchmark": Operation(BenchmarkArgs, _benchmark),
    "prepare_blocks": Operation(BenchmarkArgs, _prepare_blocks),
    "measure_block": Operation(BlockArgs, _measure_block),
    "batch": Operation(BatchArgs, _batch),
    "open_session": Operation(SessionArgs, _open_session),
    "run_session": Operation(RunArgs, _run_session),
}


def run_operation(name: str, raw_args: bytes, context: Context) -> bytes:
    """Run an operation on its encoded arguments; returns its encoded result."""
    operation = OPERATIONS[name]
    args = msgspec.msgpack.decode(raw_args, type=operation.args)
    return msgspec.msgpack.encode(operation.run(context, args))
