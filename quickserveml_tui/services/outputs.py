"""Outputs of a model as documents and files: JSON, and NPZ."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from quickserveml_tui.core.values import SparseValue
from quickserveml_tui.runtime.dtypes import is_extended
from quickserveml_tui.runtime.value_files import save_values

if TYPE_CHECKING:
    from quickserveml_tui.core.predictions import Prediction


def encode(value: Any) -> Any:
    """A value as JSON holds it: NaN and infinities as the strings `NaN`, `Infinity`, `-Infinity`.

    The strings are those of the Protocol Buffers JSON mapping, so that nothing is lost. Tensors are nested lists,
    sequences lists, maps objects with their keys as text, an optional without a value null, sparse tensors objects of
    `shape`, `indices` and `values`. Short floats and integers are numbers; bytes become text where they are UTF-8, else
    hex; complex numbers [real, imaginary].
    """
    if isinstance(value, SparseValue):
        return {"shape": list(value.shape), "indices": value.indices.tolist(), "values": encode(value.values)}
    if isinstance(value, np.ndarray):
        return _encode_array(value)
    if isinstance(value, np.generic):
        return encode(np.asarray(value)) if is_extended(value.dtype) else encode(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else _nonfinite_name(value)
    if isinstance(value, complex):
        return [encode(value.real), encode(value.imag)]
    if isinstance(value, bytes):
        return _bytes_text(value)
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    return value


def _nonfinite_name(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _bytes_text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


def _encode_array(array: np.ndarray[Any, Any]) -> Any:
    if array.dtype.kind in "biu":
        return array.tolist()
    if array.dtype.kind in "OSUc":
        return encode(array.tolist())
    numbers = as_standard(array)
    return numbers.tolist() if np.isfinite(numbers).all() else encode(numbers.tolist())


def as_standard(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array with a dtype that every NumPy knows: the short floats become float32, the short integers int8."""
    if not is_extended(array.dtype):
        return array
    return array.astype(np.int8 if "int" in array.dtype.name else np.float32)


def prediction_document(prediction: Prediction) -> dict[str, Any]:
    """A prediction as `--json` prints it; `shape` is null for what has none."""
    outputs = {
        name: {
            "dtype": prediction.dtypes.get(name, ""),
            "shape": list(value.shape) if isinstance(value, np.ndarray | SparseValue) else None,
            "data": encode(value),
        }
        for name, value in prediction.outputs.items()
    }
    return {
        "ref": prediction.ref,
        "outputs": outputs,
        "latency_ms": prediction.latency_ms,
        "synthetic": prediction.synthetic,
    }


def to_file(prediction: Prediction, path: str) -> bytes:
    """The outputs as the file that `path` asks for: JSON as `--json` prints it, else NPZ without pickle."""
    if path.lower().endswith(".json"):
        return msgspec.json.encode(prediction_document(prediction))
    return save_values(prediction.outputs)
