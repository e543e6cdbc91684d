"""Example requests as JSON text that people can read and edit."""

from __future__ import annotations

import json
import math
from typing import Any

from quickserveml_tui.client.metadata import ModelMetadata
from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.text import safe_text

MAX_ELEMENTS = 1 << 20
_DIGITS = 4


def example_text(metadata: ModelMetadata) -> str:
    """A request with made-up values, one tensor after the other, rows of numbers on lines of their own.

    Raises `DataError`: `data.too_large` for more than a million values, `data.binary_only` for BF16, which JSON cannot
    carry.
    """
    size = sum(math.prod(max(dim, 1) for dim in kind.shape or ()) for kind in metadata.inputs)
    if size > MAX_ELEMENTS:
        raise DataError(
            f"An example of this model has {size:,} values, too many for JSON.",
            hint="Send binary data: `quickserveml predict` does.",
            code="data.too_large",
        )
    for kind in metadata.inputs:
        if kind.datatype == "BF16":
            raise DataError(
                f"Input “{safe_text(kind.name, 60)}” has the type BF16, which only binary data can carry.",
                hint="Send binary data: `quickserveml predict` does.",
                code="data.binary_only",
            )
    arrays = metadata.made_up(FeedSpec())
    tensors = []
    for kind in metadata.inputs:
        array = arrays[kind.name]
        head = {"name": kind.name, "datatype": kind.datatype, "shape": list(array.shape)}
        values = array.tolist() if array.ndim else [array.item()]
        data = _rows(_rounded(values) if kind.dtype.kind == "f" else values, "      ")
        fields = [f"      {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in head.items()]
        tensors.append("    {\n" + ",\n".join([*fields, f'      "data": {data}']) + "\n    }")
    return '{\n  "inputs": [\n' + ",\n".join(tensors) + "\n  ]\n}\n"


def _rounded(values: Any) -> Any:
    return [_rounded(item) for item in values] if isinstance(values, list) else round(values, _DIGITS)


def _rows(values: Any, indent: str) -> str:
    """Nested lists with every innermost one on its own line."""
    if not isinstance(values, list) or not values or not isinstance(values[0], list):
        return json.dumps(values, ensure_ascii=False)
    inner = ",\n".join(f"{indent}  {_rows(item, indent + '  ')}" for item in values)
    return f"[\n{inner}\n{indent}]"
