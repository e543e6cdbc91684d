"""Arguments and results of a runner's operations, and how arrays cross the pipe.

Paths cross as bytes (`os.fsencode`): a file name need not be valid Unicode.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from quickserveml_tui.core.benchmarks import BenchmarkSpec
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.predictions import BatchSpec
from quickserveml_tui.core.runners import RawBenchmark


class ReadArgs(msgspec.Struct, frozen=True):
    """Arguments of `external_files` and `read_facts`."""

    path: bytes
    memory_bytes: int | None = None


class LayersArgs(msgspec.Struct, frozen=True):
    """Arguments of `read_layers`."""

    path: bytes
    offset: int
    limit: int
    memory_bytes: int | None = None


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
    memory_bytes: int | None = None


class PredictResult(msgspec.Struct, frozen=True):
    """Result of `predict`; `outputs` are packed."""

    outputs: dict[str, Any]
    dtypes: dict[str, str]
    latency_ms: float
    synthetic: bool


class BenchmarkArgs(msgspec.Struct, frozen=True):
    """Arguments of `benchmark`; the result is a `RawBenchmark` with packed fields, by field name."""

    path: bytes
    spec: BenchmarkSpec
    cpus: tuple[int, ...] = ()
    """Cores to bind the measured thread to; empty leaves it free."""
    memory_bytes: int | None = None


class BatchArgs(msgspec.Struct, frozen=True):
    """Arguments of `batch`."""

    path: bytes
    data: bytes
    spec: BatchSpec
    memory_bytes: int | None = None


def pack(value: Any) -> Any:
    """A value that msgpack can carry, from arrays, lists, dicts and scalars, however nested.

    An array becomes `{"a": [dtype, shape, bytes]}` (strings: a list of str), a list `{"l": […]}`, a dict `{"m": [[key,
    value], …]}`; dtypes go by their ONNX names.
    """
    import numpy as np

    from quickserveml_tui.runtime.dtypes import onnx_name

    if isinstance(value, np.ndarray):
        name = onnx_name(value.dtype)
        if name == "string":
            return {"a": [name, list(value.shape), [str(item) for item in value.ravel()]]}
        return {"a": [name, list(value.shape), np.ascontiguousarray(value).tobytes()]}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {"m": [[pack(key), pack(item)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"l": [pack(item) for item in value]}
    return value


def unpack(value: Any) -> Any:
    """The inverse of `pack`. Arrays own their data and are writable."""
    if not isinstance(value, dict):
        return value
    if "l" in value:
        return [unpack(item) for item in value["l"]]
    if "m" in value:
        return {unpack(key): unpack(item) for key, item in value["m"]}
    import numpy as np

    from quickserveml_tui.runtime.dtypes import numpy_dtype

    name, shape, data = value["a"]
    if name == "string":
        array = np.empty(len(data), dtype=object)
        array[:] = data
        return array.reshape(shape)
    return np.frombuffer(data, dtype=numpy_dtype(name)).reshape(shape).copy()


def to_raw_benchmark(packed: dict[str, Any]) -> RawBenchmark:
    """The result of `benchmark` from its packed fields; samples are float64 arrays."""
    fields = {name: unpack(value) for name, value in packed.items()}
    fields["pinned_cpus"] = tuple(fields["pinned_cpus"])
    fields["shapes"] = {name: tuple(shape) for name, shape in fields["shapes"].items()}
    return RawBenchmark(**fields)
