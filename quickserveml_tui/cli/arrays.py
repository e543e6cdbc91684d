"""Outputs of a model as JSON, NPZ and text."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.tensors import format_shape
from quickserveml_tui.core.text import safe_text

if TYPE_CHECKING:
    from quickserveml_tui.core.predictions import Prediction

_PREVIEW_VALUES = 10


def encode(value: Any) -> Any:
    """A value as JSON holds it: NaN and infinities as the strings `NaN`, `Infinity`, `-Infinity`.

    The strings are those of the Protocol Buffers JSON mapping, so that nothing is lost. Bytes become text where they
    are UTF-8, else hex; complex numbers become [real, imaginary].
    """
    if isinstance(value, np.ndarray):
        return _encode_array(value)
    if isinstance(value, np.generic):
        return encode(value.item())
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
    """A prediction as `--json` prints it; `shape` is null for sequences and maps."""
    outputs = {
        name: {
            "dtype": prediction.dtypes.get(name, ""),
            "shape": list(value.shape) if isinstance(value, np.ndarray) else None,
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


def to_npz(prediction: Prediction) -> bytes:
    """The outputs as an NPZ file that opens without pickle.

    Raises `DataError` (`output.not_a_tensor`) for a sequence or map, which NPZ cannot hold.
    """
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name, value in prediction.outputs.items():
        if not isinstance(value, np.ndarray):
            raise DataError(
                f"The output “{safe_text(name, 60)}” is no tensor, and NPZ holds tensors only.",
                hint="Leave --output away and use --json.",
                code="output.not_a_tensor",
            )
        array = as_standard(value)
        arrays[name] = array.astype(str) if array.dtype.kind == "O" else array
    buffer = io.BytesIO()
    # Given as a dict of keywords the name `file` would collide with savez's own parameter.
    if "file" in arrays:
        raise DataError("An output named “file” cannot be written to NPZ.", hint="Use --json.", code="output.name")
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def preview(prediction: Prediction) -> list[str]:
    """The outputs as lines: name, dtype, shape, range and the first values."""
    lines: list[str] = []
    for name, value in prediction.outputs.items():
        dtype = prediction.dtypes.get(name, "")
        if isinstance(value, np.ndarray):
            lines += _array_lines(safe_text(name, 60), dtype, value)
        else:
            lines += [f"{safe_text(name, 60)}  {dtype}", f"  {safe_text(encode(value), 200)}"]
    return lines


def _array_lines(name: str, dtype: str, array: np.ndarray[Any, Any]) -> list[str]:
    values = array.reshape(-1)[:_PREVIEW_VALUES]
    shown = [
        f"{value:.6g}" if array.dtype.kind not in "OSUbc" else safe_text(encode(value), 40) for value in _items(values)
    ]
    more = f" … {array.size - len(shown):,} more" if array.size > len(shown) else ""
    lines = [f"{name}  {dtype}  {format_shape(array.shape)}{_value_range(array)}", f"  {'  '.join(shown)}{more}"]
    return lines if array.size else lines[:1]


def _items(values: np.ndarray[Any, Any]) -> list[Any]:
    items: list[Any] = as_standard(values).tolist()
    return items


def _value_range(array: np.ndarray[Any, Any]) -> str:
    if array.size < 2 or array.dtype.kind in "OSUbc":
        return ""
    numbers = as_standard(array)
    if numbers.dtype.kind != "f":
        return f"  {numbers.min()} to {numbers.max()}"
    finite = numbers[np.isfinite(numbers)]
    odd = f", {numbers.size - finite.size:,} not finite" if finite.size < numbers.size else ""
    return f"  {finite.min():.4g} to {finite.max():.4g}{odd}" if finite.size else "  nothing finite"
