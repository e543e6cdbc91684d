"""Outputs of a model as JSON, NPZ and text."""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from quickserveml_tui.core.tensors import format_shape
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.core.values import SparseValue, Value
from quickserveml_tui.runtime.dtypes import onnx_name
from quickserveml_tui.runtime.value_files import save_values

if TYPE_CHECKING:
    from quickserveml_tui.core.predictions import Prediction

_PREVIEW_VALUES = 10
_PREVIEW_ITEMS = 4


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
        return encode(np.asarray(value)) if value.dtype.kind == "V" else encode(value.item())
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
    if array.dtype.kind in "biufcOSU":
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


def preview(prediction: Prediction) -> list[str]:
    """The outputs as lines: name, dtype, shape, range and the first values."""
    lines: list[str] = []
    for name, value in prediction.outputs.items():
        lines += _lines(safe_text(name, 60), safe_text(prediction.dtypes.get(name, ""), 120), value)
    return lines


def _lines(name: str, dtype: str, value: Value) -> list[str]:
    if isinstance(value, np.ndarray):
        return _array_lines(name, dtype, value)
    if value is None:
        return [f"{name}  {dtype}  no value"]
    if isinstance(value, SparseValue):
        head = f"{name}  {dtype}  sparse {format_shape(value.shape)}, {len(value.values):,} stored"
        places = [f"[{', '.join(map(str, place))}]" for place in value.indices[:_PREVIEW_VALUES].tolist()]
        shown = [f"{place} {text}" for place, text in zip(places, _texts(value.values), strict=False)]
        return [head, f"  {'  '.join(shown)}{_more(len(value.values), len(shown))}"] if shown else [head]
    if isinstance(value, dict):
        return [f"{name}  {dtype}  {plural(len(value), 'entry', 'entries')}", f"  {_entries(value)}"]
    if isinstance(value, list):
        return _sequence_lines(name, dtype, value)
    return [f"{name}  {dtype}", f"  {safe_text(encode(value), 200)}"]


def _sequence_lines(name: str, dtype: str, items: list[Any]) -> list[str]:
    lines = [f"{name}  {dtype}  {plural(len(items), 'element')}"]
    for index, item in enumerate(items[:_PREVIEW_ITEMS]):
        if isinstance(item, dict):
            lines.append(f"  [{index}]  {_entries(item)}")
        elif isinstance(item, np.ndarray):
            lines += [f"  {line}" for line in _array_lines(f"[{index}]", onnx_name(item.dtype), item)]
        else:
            lines.append(f"  [{index}]  {safe_text(encode(item), 200)}")
    if len(items) > _PREVIEW_ITEMS:
        lines.append(f"  … {len(items) - _PREVIEW_ITEMS:,} more")
    return lines


def _entries(table: dict[Any, Any]) -> str:
    shown = [f"{safe_text(key, 40)}: {_text(item)}" for key, item in islice(table.items(), _PREVIEW_VALUES)]
    return "  ".join(shown) + _more(len(table), len(shown))


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else safe_text(encode(value), 40)


def _texts(values: np.ndarray[Any, Any]) -> list[str]:
    return [_text(value) for value in as_standard(values.reshape(-1)[:_PREVIEW_VALUES]).tolist()]


def _more(size: int, shown: int) -> str:
    return f" … {size - shown:,} more" if size > shown else ""


def _array_lines(name: str, dtype: str, array: np.ndarray[Any, Any]) -> list[str]:
    shown = _texts(array)
    lines = [
        f"{name}  {dtype}  {format_shape(array.shape)}{_value_range(array)}",
        f"  {'  '.join(shown)}{_more(array.size, len(shown))}",
    ]
    return lines if array.size else lines[:1]


def _value_range(array: np.ndarray[Any, Any]) -> str:
    if array.size < 2 or array.dtype.kind in "OSUbc":
        return ""
    numbers = as_standard(array)
    if numbers.dtype.kind != "f":
        return f"  {numbers.min()} to {numbers.max()}"
    finite = numbers[np.isfinite(numbers)]
    odd = f", {numbers.size - finite.size:,} not finite" if finite.size < numbers.size else ""
    return f"  {finite.min():.4g} to {finite.max():.4g}{odd}" if finite.size else "  nothing finite"
