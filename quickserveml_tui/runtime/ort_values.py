"""How values cross into the runtime and out of it: what its Python binding takes differs by kind and dtype.

`InferenceSession.run` takes numpy arrays, lists, dicts, None and `OrtValue`s side by side, but gives no outputs of
types that numpy lacks. `run_with_ort_values` gives every output, but takes only `OrtValue`s: for models that need it,
strings and sequences are carried over by tiny models (`graph.carriers`), and absent values are left out.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import onnxruntime as ort

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.core.tensors import DTYPE_BITS, TensorSpec
from quickserveml_tui.core.values import SparseValue, Value
from quickserveml_tui.runtime.dtypes import EXTENDED_DTYPES, is_extended, numpy_dtype, onnx_name, tensor_spec
from quickserveml_tui.runtime.kinds import type_of
from quickserveml_tui.runtime.sparse import from_ort_sparse, to_ort_sparse

_ELEMENT_TYPES = {  # onnx.TensorProto.DataType
    "bfloat16": 16, "float8e4m3fn": 17, "float8e4m3fnuz": 18, "float8e5m2": 19, "float8e5m2fnuz": 20,
    "uint4": 21, "int4": 22, "float4e2m1": 23, "float8e8m0": 24, "uint2": 25, "int2": 26,
}  # fmt: skip

Run: TypeAlias = Callable[[ort.RunOptions], list[Any]]
"""One inference: outputs in the order of the names it was prepared for."""


def needs_ort_values(outputs: tuple[TensorSpec, ...]) -> bool:
    """Whether some output has a type that numpy lacks, so that `InferenceSession.run` cannot give it."""
    return any(any(dtype in spec.dtype for dtype in EXTENDED_DTYPES) for spec in outputs)


def prepare(
    session: ort.InferenceSession,
    names: list[str],
    feeds: Mapping[str, Value],
    inputs: Sequence[TensorSpec],
    *,
    as_ort_values: bool,
) -> Run:
    """A call that runs `session` on these inputs, which cross into the runtime once, here."""
    if as_ort_values:
        types = {spec.name: spec for spec in inputs}
        owned = {
            name: _sequence(value, types[name]) if isinstance(value, list) else to_ort_value(value)
            for name, value in feeds.items()
            if value is not None
        }
        return lambda options: [from_ort_value(value) for value in session.run_with_ort_values(names, owned, options)]
    crossing = {name: _to_feed(value) for name, value in feeds.items()}
    return lambda options: [_from_output(value) for value in session.run(names, crossing, options)]


def _to_feed(value: Value) -> Any:
    """The value as `InferenceSession.run` takes it: as it is, but for types that numpy lacks."""
    if isinstance(value, SparseValue) or (isinstance(value, np.ndarray) and is_extended(value.dtype)):
        return to_ort_value(value)
    return value


def _from_output(value: Any) -> Value:
    if isinstance(value, np.ndarray | list | dict) or value is None:
        return value
    if hasattr(value, "dense_shape"):  # the binding's own class, which `onnxruntime.SparseTensor` wraps
        return from_ort_sparse(ort.SparseTensor(value))
    return np.asarray(value)


# ---- into the runtime -----------------------------------------------------------------------------------------------


def to_ort_value(value: Value) -> ort.OrtValue:
    """A tensor, dense or sparse, as the runtime's own value. Raises `ModelError` for a map, which has no such form."""
    if isinstance(value, SparseValue):
        return to_ort_sparse(value)
    if not isinstance(value, np.ndarray):
        raise ModelError(
            "The model takes a map and gives outputs of a type that numpy lacks, which Python cannot pass together.",
            hint="Cast the outputs to float32 in the model.",
            code="model.input_unsupported",
        )
    name = onnx_name(value.dtype)
    if name == "string":
        from quickserveml_tui.graph.carriers import string_maker

        return _carried(_open(string_maker(value.shape, value.ravel().tolist())), {})
    if name not in EXTENDED_DTYPES:
        return ort.OrtValue.ortvalue_from_numpy(value)
    if DTYPE_BITS[name] in (8, 16) and name != "float8e8m0":
        bits = np.ascontiguousarray(value).reshape(value.shape).view(f"u{value.dtype.itemsize}")
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, _ELEMENT_TYPES[name])
    made = ort.OrtValue.ortvalue_from_shape_and_type(list(value.shape), _ELEMENT_TYPES[name])
    raw = pack_bits(value)
    if raw:
        ctypes.memmove(made.data_ptr(), raw, len(raw))
    return made


def pack_bits(array: np.ndarray[Any, Any]) -> bytes:
    """The elements as the runtime holds them: those of 4 and 2 bits share bytes, the first in the lowest bits."""
    bits = DTYPE_BITS[onnx_name(array.dtype)]
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    if bits == 8:
        return flat.tobytes()
    per_byte = 8 // bits
    padded = np.zeros(-(-flat.size // per_byte) * per_byte, np.uint8)
    padded[: flat.size] = flat & ((1 << bits) - 1)
    shifts = np.arange(per_byte, dtype=np.uint8) * np.uint8(bits)
    packed: np.ndarray[Any, Any] = np.bitwise_or.reduce(padded.reshape(-1, per_byte) << shifts, axis=1)
    return packed.astype(np.uint8).tobytes()


def unpack_bits(raw: bytes, dtype: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The inverse of `pack_bits`."""
    bits, size = DTYPE_BITS[dtype], int(np.prod(shape, dtype=np.int64))
    target = numpy_dtype(dtype)
    if bits >= 8:
        return np.frombuffer(raw, dtype=target, count=size).reshape(shape).copy()
    shifts = np.arange(8 // bits, dtype=np.uint8) * np.uint8(bits)
    parts = (np.frombuffer(raw, np.uint8)[:, None] >> shifts) & np.uint8((1 << bits) - 1)
    flat = parts.reshape(-1)[:size]
    if dtype.startswith("int"):
        sign = np.uint8(1 << (bits - 1))
        return ((flat ^ sign).astype(np.int8) - np.int8(sign)).astype(target).reshape(shape)
    return np.ascontiguousarray(flat).view(target).reshape(shape)


def _sequence(items: list[Any], spec: TensorSpec) -> ort.OrtValue:
    element = str(type_of(spec).without_optional.held)
    feeds = {f"x{index}": to_ort_value(item) for index, item in enumerate(items)}
    return _carried(_sequence_maker(element, len(items)), feeds)


def _carried(carrier: ort.InferenceSession, feeds: dict[str, ort.OrtValue]) -> ort.OrtValue:
    return carrier.run_with_ort_values(["y"], feeds)[0]


# ---- out of the runtime ---------------------------------------------------------------------------------------------


def from_ort_value(value: ort.OrtValue) -> Value:
    """The value in Python, copied."""
    if not value.has_value():  # asking such a one for anything else kills the process
        return None
    if value.is_sparse_tensor():
        return from_ort_sparse(value.as_sparse_tensor())
    if not value.is_tensor():
        return _pass_through(value.data_type()).run(None, {"x": value})[0]
    dtype = tensor_spec("", value.data_type(), None).dtype
    if dtype not in EXTENDED_DTYPES:
        return value.numpy()
    shape = tuple(value.shape())
    size = -(-int(np.prod(shape, dtype=np.int64)) * DTYPE_BITS[dtype] // 8)
    return unpack_bits(ctypes.string_at(value.data_ptr(), size) if size else b"", dtype, shape)


@lru_cache(maxsize=32)
def _pass_through(type_name: str) -> ort.InferenceSession:
    from quickserveml_tui.graph.carriers import pass_through

    return _open(pass_through(type_name))


@lru_cache(maxsize=32)
def _sequence_maker(element: str, length: int) -> ort.InferenceSession:
    from quickserveml_tui.graph.carriers import sequence_maker

    return _open(sequence_maker(element, length))


def _open(model: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
