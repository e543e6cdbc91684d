"""Arguments and results of a runner's operations.

Paths cross as bytes (`os.fsencode`): a file name need not be valid Unicode.
"""

from __future__ import annotations

from typing import Any

import msgspec

from quickserveml_tui.core.benchmarks import BenchmarkSpec
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.golden import ValueDifference
from quickserveml_tui.core.predictions import BatchSpec
from quickserveml_tui.core.runners import Block, RawBenchmark
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.runtime.packing import pack, unpack
from quickserveml_tui.runtime.settings import SessionSettings

__all__ = ["pack", "unpack"]


class ReadArgs(msgspec.Struct, frozen=True):
    """Arguments of `external_files`, `read_header`, `read_totals` and `read_facts`."""

    path: bytes
    memory_bytes: int | None = None


class NoArgs(msgspec.Struct, frozen=True):
    """Arguments of `limits`."""


class LayersArgs(msgspec.Struct, frozen=True):
    """Arguments of `read_layers`."""

    path: bytes
    offset: int
    limit: int
    memory_bytes: int | None = None
    shapes: bool = True


class TrialArgs(msgspec.Struct, frozen=True):
    """Arguments of `trial`."""

    path: bytes
    feed: FeedSpec
    memory_bytes: int | None = None


class PredictArgs(msgspec.Struct, frozen=True):
    """Arguments of `predict`: a file, arrays (see `pack`), or neither for synthetic inputs."""

    path: bytes
    feed: FeedSpec
    inputs_path: bytes = b""
    inputs: dict[str, Any] | None = None
    keep_inputs: bool = False
    """Whether the result has the inputs as well."""
    memory_bytes: int | None = None


class PredictResult(msgspec.Struct, frozen=True):
    """Result of `predict`; `outputs` and `inputs` are packed."""

    outputs: dict[str, Any]
    dtypes: dict[str, str]
    latency_ms: float
    synthetic: bool
    runtime: str = ""
    inputs: dict[str, Any] = {}


class CompareArgs(msgspec.Struct, frozen=True):
    """Arguments of `compare`: files in the form of `value_files`."""

    path: bytes
    inputs_path: bytes
    outputs_path: bytes
    rtol: float
    atol: float
    memory_bytes: int | None = None


class CompareResult(msgspec.Struct, frozen=True):
    """Result of `compare`."""

    differences: tuple[ValueDifference, ...]
    run_ms: float


class ConvertArgs(msgspec.Struct, frozen=True):
    """Arguments of `convert`."""

    path: bytes
    target: bytes
    opset: int | None
    ir_version: int | None
    memory_bytes: int | None = None


class ReferenceArgs(msgspec.Struct, frozen=True):
    """Arguments of `reference`; `inputs` are packed. The result is packed outputs by name."""

    path: bytes
    inputs: dict[str, Any]
    memory_bytes: int | None = None


class BenchmarkArgs(msgspec.Struct, frozen=True):
    """Arguments of `benchmark`; the result is a `RawBenchmark` with packed fields, by field name."""

    path: bytes
    spec: BenchmarkSpec
    cpus: tuple[int, ...] = ()
    """Cores to bind the measured thread to; empty leaves it free."""
    memory_bytes: int | None = None


class BlockArgs(msgspec.Struct, frozen=True):
    """Arguments of `measure_block`; the result is a `Block` with packed fields, by field name."""

    seconds: float


class BatchArgs(msgspec.Struct, frozen=True):
    """Arguments of `batch`."""

    path: bytes
    data: bytes
    spec: BatchSpec
    memory_bytes: int | None = None


class SessionArgs(msgspec.Struct, frozen=True):
    """Arguments of `open_session`."""

    path: bytes
    settings: SessionSettings


class SessionInfo(msgspec.Struct, frozen=True):
    """Result of `open_session`."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    provider: str


class RunArgs(msgspec.Struct, frozen=True):
    """Arguments of `run_session`; `feeds` are packed. The result is packed outputs by name."""

    path: bytes
    settings: SessionSettings
    feeds: dict[str, Any]
    names: tuple[str, ...]


def to_raw_benchmark(packed: dict[str, Any]) -> RawBenchmark:
    """The result of `benchmark` from its packed fields; samples are float64 arrays."""
    fields = {name: unpack(value) for name, value in packed.items()}
    fields["pinned_cpus"] = tuple(fields["pinned_cpus"])
    fields["shapes"] = {name: tuple(shape) for name, shape in fields["shapes"].items()}
    return RawBenchmark(**fields)


def to_block(packed: dict[str, Any]) -> Block:
    """The result of `measure_block` from its packed fields."""
    return Block(**{name: unpack(value) for name, value in packed.items()})
