"""Types of values as trees: what a sequence, a map, an optional or a sparse tensor holds."""

from __future__ import annotations

import re
from dataclasses import dataclass

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.core.text import safe_text

MAX_DEPTH = 16
_TYPE = re.compile(r"\s*(\w+)\s*\((.*)\)\s*", re.DOTALL)
_NAMES = {"float": "float32", "double": "float64"}
_WRAPPERS = {"seq": "sequence", "optional": "optional"}


@dataclass(frozen=True, slots=True)
class ValueType:
    """The type of a value.

    `kind` is `tensor`, `sparse`, `sequence`, `optional` or `map`. `dtype` is the element type of a tensor or sparse
    tensor, and the key type of a map; `element` is what a sequence, an optional or a map holds.
    """

    kind: str
    dtype: str = ""
    element: ValueType | None = None

    @property
    def held(self) -> ValueType:
        """What a sequence, an optional or a map holds. Only for these."""
        assert self.element is not None
        return self.element

    @property
    def leaf(self) -> ValueType:
        """The tensor type inside, however deep."""
        inner = self
        while inner.element is not None:
            inner = inner.element
        return inner

    @property
    def without_optional(self) -> ValueType:
        """The type of a value that is there."""
        return self.held if self.kind == "optional" else self

    def __str__(self) -> str:
        """The type as the runtime writes it, such as `seq(tensor(float))`."""
        dtype = {"float32": "float", "float64": "double"}.get(self.dtype, self.dtype)
        if self.kind == "tensor":
            return f"tensor({dtype})"
        if self.kind == "sparse":
            return f"sparse_tensor({dtype})"
        if self.kind == "map":
            return f"map({dtype},{self.element})"
        return f"{'seq' if self.kind == 'sequence' else 'optional'}({self.element})"


def type_of(spec: TensorSpec) -> ValueType:
    """The type of an input or output. Raises `ModelError` (`model.input_unsupported`) for one of no known kind."""
    if spec.kind == "tensor" and "(" not in spec.dtype:
        return ValueType("tensor", spec.dtype)
    found = parse_type(spec.dtype)
    if found is None:
        raise ModelError(
            f"“{safe_text(spec.name, 60)}” is of the type {safe_text(spec.dtype, 80)}, which has no form in Python.",
            hint="Export the model with tensors.",
            code="model.input_unsupported",
        )
    return found


def parse_type(text: str, depth: int = MAX_DEPTH) -> ValueType | None:
    """The type that the runtime writes as `seq(map(int64,tensor(float)))`; None for others."""
    match = _TYPE.fullmatch(text)
    if match is None or depth == 0:
        return None
    outer, inner = match[1], match[2]
    if outer in ("tensor", "sparse_tensor"):
        return ValueType("tensor" if outer == "tensor" else "sparse", _NAMES.get(inner.strip(), inner.strip()))
    key = ""
    if outer == "map":
        key, comma, inner = inner.partition(",")
        if not comma:
            return None
    elif outer not in _WRAPPERS:
        return None
    held = parse_type(inner, depth - 1)
    return None if held is None else ValueType(_WRAPPERS.get(outer, "map"), key.strip(), held)
