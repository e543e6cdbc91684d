"""The short form of a prediction: plain JSON in, plain JSON out, shapes found from the lists."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from quickserveml_tui.core.errors import DataError, QuickServeError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.values import SparseValue
from quickserveml_tui.wire.datatypes import TensorType, format_dims
from quickserveml_tui.wire.json_tensors import Array, array_from_json, bad_input
from quickserveml_tui.wire.oip_documents import bad_json
from quickserveml_tui.wire.oip_response import not_finite
from quickserveml_tui.wire.requests import InferRequest, OutputPlan

_HINT = "Tensors that hold such values can be had over /v2 as binary data."


class PredictDecoder:
    """Reads `{"inputs": {name: values}}`, `{"data": values}` or just the values, for one model."""

    def __init__(self, inputs: Sequence[TensorType], outputs: Sequence[str]) -> None:
        self._inputs = tuple(inputs)
        self._plan = OutputPlan(tuple(outputs), (False,) * len(outputs))

    def decode(self, body: bytes | memoryview) -> InferRequest:
        """The request in `body`, asking for all outputs. Raises `DataError`."""
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise bad_json(error) from error
        given = self._by_name(document)
        feeds = {}
        for kind in self._inputs:
            if kind.name not in given:
                raise DataError(
                    f"The input “{safe_text(kind.name, 80)}” is missing.",
                    hint="Send every input of the model.",
                    code="data.missing_input",
                )
            feeds[kind.name] = fit(array_from_json(given[kind.name], kind), kind)
        for name in given:
            if name not in feeds:
                known = ", ".join(safe_text(kind.name, 80) for kind in self._inputs)
                raise DataError(
                    f"The model has no input “{safe_text(name, 80)}”.",
                    hint=f"Inputs: {known}.",
                    code="data.unknown_input",
                )
        return InferRequest(feeds, self._plan)

    def _by_name(self, document: Any) -> dict[str, Any]:
        if isinstance(document, dict):
            if isinstance(document.get("inputs"), dict):
                return dict(document["inputs"])
            if "data" in document or "inputs" in document:
                document = document.get("data", document.get("inputs"))
            elif document.keys() == {kind.name for kind in self._inputs}:
                return document
        if isinstance(document, dict):
            return document
        if isinstance(document, list) and len(self._inputs) == 1:
            return {self._inputs[0].name: document}
        raise DataError(
            "The request must hold the inputs by name.",
            hint='Send {"inputs": {"name": [values]}}, or {"data": [values]} for a model with one input.',
            code="request.invalid",
        )


def fit(array: Array, kind: TensorType) -> Array:
    """`array` in a shape the input takes: as it is, as one item of a batch, or cut from a flat list.

    Raises `DataError` (`data.shape`) where none fits.
    """
    if kind.shape is None or kind.fits(array.shape):
        return array
    if kind.shape[0] in (-1, 1) and kind.fits((1, *array.shape)):
        return array[np.newaxis]
    if array.ndim == 1:
        fixed = math.prod(dim for dim in kind.shape if dim != -1)
        if -1 not in kind.shape and array.size == fixed:
            return array.reshape(kind.shape)
        if -1 in kind.shape and fixed and array.size and array.size % fixed == 0:
            # Several free dims share one factor: it goes to the first of them, the batch where there is one.
            sizes, left = [], array.size // fixed
            for dim in kind.shape:
                sizes.append(left if dim == -1 else dim)
                left = 1 if dim == -1 else left
            return array.reshape(sizes)
    raise bad_input(
        kind.name, f"has the shape {format_dims(array.shape)}, expected {kind.describe_shape()}", "data.shape"
    )


def _default(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError


def encode_predictions(outputs: Mapping[str, Any], latency_ms: float) -> bytes:
    """`{"outputs": {name: nested lists}, "latency_ms": …}`; sequences and maps as lists and objects.

    Raises `QuickServeError` (`output.not_finite`, `output.unencodable`) for values that JSON cannot carry.
    """
    document = {
        "outputs": {name: _jsonable(name, value) for name, value in outputs.items()},
        "latency_ms": round(latency_ms, 4),
    }
    try:
        return orjson.dumps(document, default=_default, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    except TypeError as error:
        raise QuickServeError(
            "An output cannot be written as JSON.",
            hint="Ask for it over /v2 as binary data.",
            code="output.unencodable",
        ) from error


def _jsonable(name: str, value: Any) -> Any:
    """A value that orjson takes. It writes the common numpy dtypes itself, in row-major order, and NaN as null."""
    if not isinstance(value, np.ndarray):
        value = _plain(value)
        if not _is_finite(value):
            raise not_finite(name, _HINT)
        return value
    value = _standard(value)
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise not_finite(name, _HINT)
    return np.ascontiguousarray(value).reshape(value.shape) if value.dtype.kind in "fiub" else value.tolist()


def _standard(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array with a dtype that numpy itself has: short floats as float32, short integers as int8."""
    if array.dtype.kind != "V" and not (array.dtype.kind == "f" and array.dtype.itemsize == 1):  # float8e5m2
        return array
    return array.astype(np.int8 if "int" in array.dtype.name else np.float32)


def _plain(value: Any) -> Any:
    """A sequence, map, sparse tensor or missing value of arrays that orjson knows."""
    if isinstance(value, SparseValue):
        return {"shape": list(value.shape), "indices": value.indices, "values": _standard(value.values)}
    if isinstance(value, list):
        return [_standard(item) if isinstance(item, np.ndarray) else item for item in value]
    return value


def _is_finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    if isinstance(value, np.ndarray):
        return value.dtype.kind != "f" or bool(np.isfinite(value).all())
    return not isinstance(value, float | np.floating) or math.isfinite(value)
