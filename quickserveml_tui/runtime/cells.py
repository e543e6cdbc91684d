"""Cells of a text table as values of an input's dtype."""

from __future__ import annotations

from collections.abc import Callable
from math import isinf
from typing import Any, TypeAlias

from quickserveml_tui.runtime.dtypes import numpy_dtype

Parser: TypeAlias = Callable[[str], Any]
"""A value from its text; raises `ValueError` or `OverflowError`."""

_TRUE = frozenset({"1", "1.0", "true", "t", "yes"})
_FALSE = frozenset({"0", "0.0", "false", "f", "no"})


class CellError(Exception):
    """Why a row cannot be used, in one sentence."""


def _parse_bool(text: str) -> bool:
    folded = text.strip().lower()
    if folded in _TRUE:
        return True
    if folded in _FALSE:
        return False
    raise ValueError(text)


def _parse_float(text: str) -> float:
    value = float(text)
    if isinf(value) and "inf" not in text.lower():  # 1e999 is a number too large, not infinity
        raise OverflowError(text)
    return value


def _int_parser(low: int, high: int) -> Parser:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            real = float(text)  # 3.0 is a whole number too, as pandas writes them beside gaps
            value = int(real)
            if value != real:
                raise
        if not low <= value <= high:
            raise ValueError(text)
        return value

    return parse


def parser_of(dtype: str) -> Parser:
    """The parser for an ONNX dtype: floats, integers in range, booleans, strings as they are."""
    if dtype == "string":
        return str
    if dtype == "bool":
        return _parse_bool
    kind = numpy_dtype(dtype)
    if kind.kind in "iu":
        import numpy as np

        limits = np.iinfo(kind)
        return _int_parser(int(limits.min), int(limits.max))
    return _parse_float
