"""Responses of the Open Inference Protocol v2, written between constant bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import orjson

from quickserveml_tui.core.errors import DataError, QuickServeError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.wire.binary_tensors import array_to_bytes
from quickserveml_tui.wire.datatypes import TensorType
from quickserveml_tui.wire.json_tensors import Array
from quickserveml_tui.wire.requests import OutputPlan

_SHAPES = 512


def not_finite(name: str, hint: str) -> DataError:
    """The error for an output with NaN or an infinity that was to go as JSON."""
    return DataError(
        f"Output “{safe_text(name, 80)}” holds NaN or an infinity, which JSON cannot carry.",
        hint=hint,
        code="output.not_finite",
    )


def require_finite(names: Sequence[str], arrays: Sequence[Array], hint: str) -> None:
    """Raise `DataError` (`output.not_finite`) when an array holds NaN or an infinity, which JSON cannot carry."""
    for name, array in zip(names, arrays, strict=True):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise not_finite(name, hint)


class ResponseEncoder:
    """Writes responses of one version of a model."""

    def __init__(self, name: str, version: str, outputs: Sequence[TensorType]) -> None:
        self._types = {kind.name: kind for kind in outputs}
        head = orjson.dumps({"model_name": name, "model_version": version})[:-1]
        self._plain = head + b',"outputs":['
        self._with_id = head + b',"id":'
        self._heads = {
            kind.name: orjson.dumps({"name": kind.name, "datatype": kind.datatype})[:-1] + b',"shape":'
            for kind in outputs
        }
        self._shapes: dict[tuple[int, ...], bytes] = {}

    def encode(self, plan: OutputPlan, request_id: str, arrays: Sequence[Array]) -> tuple[bytes, int | None]:
        """Body and, where it has a binary part, the length of its JSON part.

        `arrays` come in the order of the plan; those that go as JSON must be finite (`require_finite`).
        """
        start = self._plain
        if request_id:
            start = self._with_id + orjson.dumps(request_id) + b',"outputs":['
        if not plan.any_binary:
            if len(arrays) == 1:
                return start + self._as_json(plan.names[0], arrays[0]) + b"]}", None
            tensors = map(self._as_json, plan.names, arrays)
            return start + b",".join(tensors) + b"]}", None
        pieces: list[bytes] = []
        raws: list[bytes | memoryview] = []
        for name, binary, array in zip(plan.names, plan.binary, arrays, strict=True):
            if binary:
                raw = array_to_bytes(array, self._types[name].datatype)
                raws.append(raw)
                pieces.append(
                    b'%b%b,"parameters":{"binary_data_size":%d}}' % (self._heads[name], self._shape(array), len(raw))
                )
            else:
                pieces.append(self._as_json(name, array))
        header = start + b",".join(pieces) + b"]}"
        return b"".join((header, *raws)), len(header)

    def encode_rows(self, plan: OutputPlan, ids: Sequence[str], arrays: Sequence[Array]) -> list[bytes] | None:
        """A JSON body for each row, from the outputs of a shared run, written with one call for all rows.

        `arrays` have as many rows as `ids`, and are finite. None where rows cannot be cut out of the text: binary
        outputs, text, truth values, other ranks.
        """
        if plan.any_binary:
            return None
        columns: list[list[bytes]] = []
        for array in arrays:
            if array.ndim != 2 or array.dtype.kind not in "fiu" or not array.shape[1] or not array.flags.c_contiguous:
                return None
            try:
                pieces = orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY)[2:-2].split(b"],[")
            except TypeError:
                return None
            columns.append(pieces)
        heads = [
            b'%b[1,%d],"data":[' % (self._heads[name], array.shape[1])
            for name, array in zip(plan.names, arrays, strict=True)
        ]
        if len(columns) == 1:
            start = self._plain + heads[0]
            bodies = [start + piece + b"]}]}" for piece in columns[0]]
        else:
            joined = [[head + piece + b"]}" for piece in pieces] for head, pieces in zip(heads, columns, strict=True)]
            bodies = [self._plain + b",".join(row) + b"]}" for row in zip(*joined, strict=True)]
        if any(ids):
            named = len(self._plain) - len(b',"outputs":[')
            for index, name in enumerate(ids):
                if name:
                    bodies[index] = b'%b,"id":%b%b' % (self._plain[:named], orjson.dumps(name), bodies[index][named:])
        return bodies

    def _shape(self, array: Array) -> bytes:
        known = self._shapes.get(array.shape)
        if known is None:
            known = orjson.dumps(list(array.shape))
            if len(self._shapes) < _SHAPES:
                self._shapes[array.shape] = known
        return known

    def _as_json(self, name: str, array: Array) -> bytes:
        kind = self._types[name]
        return b'%b%b,"data":%b}' % (self._heads[name], self._shape(array), json_values(array.reshape(-1), kind))


def json_values(array: Array, kind: TensorType) -> bytes:
    """A flat, contiguous array as JSON.

    Raises `DataError` for BF16, which only the binary form can carry, and `QuickServeError` for broken text.
    """
    if kind.datatype == "BF16":
        raise DataError(
            f"Output “{safe_text(kind.name, 80)}” has the type BF16, which only the binary form can carry.",
            hint="Ask for it with “binary_data”: true.",
            code="output.binary_only",
        )
    try:
        if kind.datatype == "BYTES":
            return orjson.dumps(array.tolist())
        return orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError as error:
        raise QuickServeError(
            f"Output “{safe_text(kind.name, 80)}” cannot be written as JSON.",
            hint="Ask for it with “binary_data”: true.",
            code="output.unencodable",
        ) from error
