"""Outputs of a model as text."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from quickserveml_tui.core.tensors import format_shape
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.core.values import SparseValue, Value
from quickserveml_tui.runtime.dtypes import onnx_name
from quickserveml_tui.services.outputs import as_standard, encode, prediction_document, to_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quickserveml_tui.core.predictions import Prediction

__all__ = ["as_standard", "brief_values", "encode", "prediction_document", "preview", "to_file"]

_PREVIEW_VALUES = 10
_PREVIEW_ITEMS = 4


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


def brief_values(values: Mapping[str, Value]) -> str:
    """Values in a few words: `input 1×512, sr = 16000`; the first eight."""
    told = [_brief(safe_text(name, 40), value) for name, value in list(values.items())[:8]]
    return ", ".join(told) + (", …" if len(values) > 8 else "")


def _brief(name: str, value: Value) -> str:
    if value is None:
        return f"{name} absent"
    if isinstance(value, np.ndarray):
        if value.size == 1:
            return f"{name} = {safe_text(encode(value.reshape(-1)[0]), 40)}"
        return f"{name} {format_shape(value.shape)}"
    if isinstance(value, list | dict):
        return f"{name} of {plural(len(value), 'element')}"
    return f"{name} {format_shape(value.shape)}, sparse"
