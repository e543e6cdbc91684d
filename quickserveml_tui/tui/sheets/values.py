"""Outputs of every kind as rows: dtype, shape, range, odd numbers, and the first elements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quickserveml_tui.charts.cells import Role, Row
from quickserveml_tui.core.tensors import format_shape
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.core.units import plain_number
from quickserveml_tui.core.values import SparseValue
from quickserveml_tui.tui.sheets.rows import labelled

MAX_PREVIEW = 64
MAX_NESTED = 12
MAX_DEPTH = 4
MAX_OUTPUTS = 2_000
MAX_FED = 6
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class ValueWords:
    """An output in words; made in a worker, because a large one takes a while to look through."""

    name: str
    dtype: str
    shape: str
    range: str = ""
    """`−1.5 to 0.25`; empty where there are no finite numbers."""
    odd: str = ""
    """`3 NaN, 1 infinite`; empty when there are none."""
    preview: tuple[str, ...] = ()
    """Lines with the first elements."""


def fed_words(inputs: Mapping[str, Any]) -> str:
    """`image 1×3×8×8, sr = 16000`: what a run was given, at most six inputs of it."""
    words = []
    for name, value in list(inputs.items())[:MAX_FED]:
        words.append(f"{safe_text(name, 40)} {_fed_shape(value)}")
    more = len(inputs) - len(words)
    return ", ".join(words) + (f" and {more:,} more" if more > 0 else "")


def _fed_shape(value: Any) -> str:
    if not hasattr(value, "reshape"):
        return describe("", "", value).shape
    return f"= {element(value.reshape(-1)[0])}" if value.size == 1 else format_shape(tuple(value.shape), "×")


def describe_outputs(outputs: Mapping[str, Any], dtypes: Mapping[str, str]) -> tuple[ValueWords, ...]:
    """Every output in words, at most 2,000 of them."""
    return tuple(describe(name, dtypes.get(name, ""), value) for name, value in list(outputs.items())[:MAX_OUTPUTS])


def describe(name: str, dtype: str, value: Any) -> ValueWords:
    """One output in words."""
    if value is None:
        return ValueWords(name, dtype, "no value", preview=("The optional output has no value.",))
    if isinstance(value, SparseValue):
        low_high, odd = numbers_of(value.values)
        shape = f"{format_shape(value.shape, ' × ')}, {plural(len(value.values), 'element')} stored"
        return ValueWords(name, dtype or _dtype(value.values), shape, low_high, odd, tuple(_sparse_lines(value)))
    if isinstance(value, Mapping):
        return ValueWords(name, dtype, plural(len(value), "entry", "entries"), preview=tuple(nested_lines(value)))
    if isinstance(value, (list, tuple)):
        return ValueWords(name, dtype, f"sequence of {len(value):,}", preview=tuple(nested_lines(value)))
    if not hasattr(value, "shape"):
        return ValueWords(name, dtype, "scalar", preview=(element(value),))
    low_high, odd = numbers_of(value)
    words = format_shape(tuple(value.shape), " × ")
    return ValueWords(name, dtype or _dtype(value), words, low_high, odd, tuple(array_lines(value)))


def _dtype(value: Any) -> str:
    return str(getattr(value, "dtype", ""))


def element(value: Any) -> str:
    """One element as text."""
    if isinstance(value, (str, bytes)):
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        return f"“{safe_text(text, 60)}”"
    if hasattr(value, "item"):
        value = value.item()
    return f"{value:.6g}" if isinstance(value, float) else safe_text(value, 60)


def numbers_of(array: Any) -> tuple[str, str]:
    """Range of the finite elements, and how many are not finite; both empty where there are no numbers."""
    import numpy as np

    if array.dtype.kind in "OSUb" or array.size == 0:
        return "", ""
    if array.dtype.kind == "c":
        return "", _odd_words(int(np.isnan(array).sum()), int(np.isinf(array).sum()))
    low, high, nan, infinite = np.inf, -np.inf, 0, 0
    flat = array.reshape(-1)
    for start in range(0, flat.size, CHUNK):  # whole copies of a large output would double it
        part = flat[start : start + CHUNK]
        numbers = part if part.dtype.kind in "iu" else part.astype(np.float64)
        if part.dtype.kind not in "iu":
            nan += int(np.isnan(numbers).sum())
            infinite += int(np.isinf(numbers).sum())
            numbers = numbers[np.isfinite(numbers)]
        if numbers.size:
            low, high = min(low, float(numbers.min())), max(high, float(numbers.max()))
    words = "" if low > high else f"{_number(low)} to {_number(high)}"
    return words, _odd_words(nan, infinite)


def _number(value: float) -> str:
    text = plain_number(value) if value == int(value) and abs(value) < 1e15 else f"{value:.4g}"
    return text.replace("-", "−", 1) if text.startswith("-") else text


def _odd_words(nan: int, infinite: int) -> str:
    return ", ".join(f"{count:,} {word}" for count, word in ((nan, "NaN"), (infinite, "infinite")) if count)


def array_lines(array: Any) -> list[str]:
    """The first elements of an array, one row of its last axis a line."""
    if array.size == 0:
        return ["It has no elements."]
    if array.ndim == 0:
        return [element(array.reshape(-1)[0])]
    per_row = max(int(array.shape[-1]), 1)
    flat = array.reshape(-1)[: MAX_PREVIEW * 4]
    lines = []
    for start in range(0, min(flat.size, MAX_PREVIEW), min(per_row, MAX_PREVIEW)):
        row = flat[start : start + min(per_row, MAX_NESTED * 2)]
        more = f"  … {per_row - len(row):,} more" if per_row > len(row) else ""
        lines.append("  ".join(element(item) for item in row) + more)
    shown = len(lines) * per_row
    return [*lines, f"… {array.size - shown:,} further elements"] if shown < array.size else lines


def _sparse_lines(value: SparseValue) -> list[str]:
    pairs = zip(value.indices[:MAX_PREVIEW], value.values[:MAX_PREVIEW], strict=False)
    lines = [f"[{', '.join(str(int(at)) for at in _each(place))}]  {element(item)}" for place, item in pairs]
    rest = len(value.values) - len(lines)
    return [*lines, f"… {rest:,} further elements"] if rest > 0 else lines or ["It stores no elements."]


def _each(place: Any) -> list[Any]:
    return list(place.reshape(-1)) if hasattr(place, "reshape") else [place]


def nested_lines(value: Any, depth: int = 0) -> list[str]:
    """A sequence or map, one item a line, indented by depth."""
    lead = "  " * depth
    items = list(value.items()) if isinstance(value, Mapping) else list(enumerate(value))
    lines: list[str] = []
    for key, item in items[: MAX_NESTED if depth else MAX_PREVIEW]:
        label = element(key) if isinstance(value, Mapping) else f"[{key}]"
        if isinstance(item, (Mapping, list, tuple)) and depth < MAX_DEPTH:
            lines += [f"{lead}{label}", *nested_lines(item, depth + 1)]
        else:
            lines.append(f"{lead}{label}  {brief(item)}")
    rest = len(items) - (MAX_NESTED if depth else MAX_PREVIEW)
    if not items:
        return [f"{lead}It is empty."]
    return [*lines, f"{lead}… {rest:,} more"] if rest > 0 else lines


def brief(item: Any) -> str:
    """One item of a sequence or map on one line."""
    if item is None:
        return "no value"
    if isinstance(item, (Mapping, list, tuple)):
        return plural(len(item), "item")
    shape = getattr(item, "shape", None)
    if shape:
        flat = item.reshape(-1)[:6]
        dots = "  …" if item.size > 6 else ""
        return f"{_dtype(item)} {format_shape(tuple(shape), '×')}  {'  '.join(element(one) for one in flat)}{dots}"
    return element(item)


def value_rows(words: ValueWords, width: int) -> list[Row]:
    """An output in full."""
    rows: list[Row] = labelled("dtype", words.dtype or "unknown", width)
    rows += labelled("shape", words.shape, width)
    if words.range:
        rows += labelled("range", words.range, width)
    if words.odd:
        rows += labelled("not finite", words.odd, width, role=Role.WARN)
    for index, line in enumerate(words.preview):
        rows += labelled("values" if index == 0 else "", line, width)
    return rows


def values_text(words: tuple[ValueWords, ...]) -> str:
    """All outputs as tab-separated lines, to be copied."""
    lines = ["name\tdtype\tshape\trange\tnot finite"]
    lines += [f"{safe_text(one.name)}\t{one.dtype}\t{one.shape}\t{one.range}\t{one.odd}" for one in words]
    return "\n".join(lines)
