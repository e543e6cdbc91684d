"""Requests of the Open Inference Protocol v2: JSON, JSON with binary tensors, and raw binary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.wire.binary_tensors import array_from_bytes, single_string
from quickserveml_tui.wire.datatypes import MAX_RANK, TensorType, format_dims
from quickserveml_tui.wire.json_tensors import Array, bad_input, shaped, small_floats
from quickserveml_tui.wire.oip_documents import parse_document, values
from quickserveml_tui.wire.request_forms import RequestForms
from quickserveml_tui.wire.requests import InferRequest, OutputPlan

MAX_ID = 1024
_KNOWN_SHAPES = 256
_INTEGERS = frozenset({int})


def _bad(problem: str, code: str = "request.invalid") -> DataError:
    return DataError(problem, hint="See the Open Inference Protocol v2 for the form of a request.", code=code)


class RequestDecoder:
    """Reads requests for one model."""

    def __init__(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> None:
        self._inputs = {kind.name: kind for kind in inputs}
        self._shapes: dict[str, dict[tuple[int, ...], int]] = {kind.name: {} for kind in inputs}
        """Shapes that were found to fit, with their element counts."""
        names = tuple(kind.name for kind in outputs)
        self._json_plan = OutputPlan(names, (False,) * len(names))
        self._binary_plan = OutputPlan(names, (True,) * len(names))
        self.forms = RequestForms(inputs)
        """What `decode` has learned of small JSON requests."""

    def decode(self, body: bytes | memoryview, header_length: int | None = None) -> InferRequest:
        """The request in `body`.

        `header_length` is the value of `Inference-Header-Content-Length`: bytes of JSON before the binary data, 0 for
        a raw binary request, None when the body is JSON only. Raises `DataError`.
        """
        if header_length == 0:
            return self._decode_raw(memoryview(body))
        if header_length is None:
            request = self.decode_document(parse_document(body), memoryview(b""))
            if type(body) is bytes:
                self.forms.learn(body, request)
            return request
        if not 0 < header_length <= len(body):
            raise _bad("Inference-Header-Content-Length is larger than the body.", "request.length")
        view = memoryview(body)
        return self.decode_document(parse_document(view[:header_length]), view[header_length:])

    def decode_document(self, document: Any, binary: memoryview) -> InferRequest:
        """The request in a document, whatever form it came in; `binary` holds the tensors without `data`.

        Raises `DataError`.
        """
        if type(document) is not dict:
            raise _bad("The request must be a JSON object.")
        request_id = document.get("id", "")
        if type(request_id) is not str or len(request_id) > MAX_ID:
            raise _bad(f"“id” must be a string of at most {MAX_ID} characters.")
        request = InferRequest(self._feeds(document.get("inputs"), binary), self._plan(document), request_id)
        if "parameters" in document:
            parameters = document["parameters"] or {}
            _refuse_sequences(parameters)
            request.priority = _whole(parameters, "priority")
            request.timeout_us = _whole(parameters, "timeout")
        return request

    def _feeds(self, inputs: Any, binary: memoryview) -> dict[str, Array]:
        if type(inputs) is not list:
            raise _bad("“inputs” must be a list of tensors.")
        feeds: dict[str, Array] = {}
        offset = 0
        for item in inputs:
            if type(item) is not dict:
                raise _bad("Each input must be an object with name, datatype, shape and data.")
            name = item.get("name")
            kind = self._inputs.get(name) if type(name) is str else None
            if kind is None or name in feeds:
                raise self._unexpected(name)
            if item.get("datatype") != kind.datatype:
                found = safe_text(item.get("datatype"), 40)
                raise bad_input(kind.name, f"has the datatype {found}, expected {kind.datatype}", "data.dtype")
            shape, count = self._shape(item.get("shape"), kind)
            data = item.get("data")
            if type(data) is list and (small := small_floats(data, kind)) is not None and small.size == count:
                feeds[kind.name] = small.reshape(shape)
            elif data is None:
                size = _binary_size(item, kind, len(binary) - offset)
                feeds[kind.name] = array_from_bytes(binary[offset : offset + size], shape, kind)
                offset += size
            else:
                feeds[kind.name] = shaped(values(data, kind), shape, kind)
        if len(feeds) != len(self._inputs):
            missing = ", ".join(safe_text(name, 80) for name in self._inputs if name not in feeds)
            raise DataError(f"Inputs are missing: {missing}.", hint="Send every input.", code="data.missing_input")
        if offset != len(binary):
            raise _bad(f"The body has {len(binary) - offset} bytes beyond its binary inputs.", "request.length")
        return feeds

    def _unexpected(self, name: Any) -> DataError:
        if type(name) is str and name in self._inputs:
            return bad_input(name, "occurs twice", "data.duplicate_input")
        known = ", ".join(safe_text(known, 80) for known in self._inputs) or "none"
        return DataError(
            f"The model has no input “{safe_text(name, 80)}”.", hint=f"Inputs: {known}.", code="data.unknown_input"
        )

    def _shape(self, dims: Any, kind: TensorType) -> tuple[tuple[int, ...], int]:
        """Shape and element count."""
        if type(dims) is not list or len(dims) > MAX_RANK:
            raise bad_input(kind.name, f"needs a shape: a list of at most {MAX_RANK} sizes", "data.shape")
        if not _INTEGERS.issuperset(map(type, dims)):
            raise bad_input(kind.name, "has a size in its shape that is not a whole number", "data.shape")
        shape = tuple(dims)
        known = self._shapes[kind.name]
        count = known.get(shape)
        if count is None:
            if min(shape, default=0) < 0:
                raise bad_input(kind.name, "has a negative size in its shape", "data.shape")
            if not kind.fits(shape):
                expected = kind.describe_shape()
                raise bad_input(kind.name, f"has the shape {format_dims(shape)}, expected {expected}", "data.shape")
            count = math.prod(shape)
            if len(known) < _KNOWN_SHAPES:
                known[shape] = count
        return shape, count

    def _plan(self, document: dict[str, Any]) -> OutputPlan:
        parameters = document.get("parameters")
        if parameters is not None and type(parameters) is not dict:
            raise _bad("“parameters” must be an object.")
        default = bool(parameters and parameters.get("binary_data_output") is True)
        wanted = document.get("outputs")
        if not wanted and (wanted is None or type(wanted) is list):
            return self._binary_plan if default else self._json_plan
        if type(wanted) is not list:
            raise _bad("“outputs” must be a list.")
        chosen: dict[str, bool] = {}
        for item in wanted:
            name, binary = _wanted_output(item, default)
            if name not in self._json_plan.names:
                raise DataError(
                    f"The model has no output “{safe_text(name, 80)}”.",
                    hint=f"Outputs: {', '.join(safe_text(known, 80) for known in self._json_plan.names)}.",
                    code="data.unknown_output",
                )
            if name in chosen:
                raise _bad(f"Output “{safe_text(name, 80)}” is asked for twice.")
            chosen[name] = binary
        return OutputPlan(tuple(chosen), tuple(chosen.values()))

    def _decode_raw(self, body: memoryview) -> InferRequest:
        if len(self._inputs) != 1:
            raise _bad(f"A raw binary request needs a model with one input; this one has {len(self._inputs)}.")
        (kind,) = self._inputs.values()
        if kind.datatype == "BYTES":
            array = single_string(body, kind).reshape((1,) * len(kind.shape or (1,)))
        else:
            array = array_from_bytes(body, _raw_shape(kind, len(body)), kind)
        if not kind.fits(array.shape):
            raise bad_input(kind.name, f"needs the shape {kind.describe_shape()}, not one string", "data.shape")
        return InferRequest({kind.name: array}, self._binary_plan)


def _whole(parameters: dict[str, Any], name: str) -> int:
    """A parameter that is a whole number; 0 without it."""
    value = parameters.get(name, 0)
    if type(value) is not int or not 0 <= value < 2**63:
        raise _bad(f"The parameter “{name}” must be a whole number from 0 on.")
    return value


def _refuse_sequences(parameters: dict[str, Any]) -> None:
    """Requests that lean on earlier ones need state between them, which models here do not keep."""
    for name in ("sequence_id", "sequence_start", "sequence_end"):
        if parameters.get(name):
            raise _bad(f"The parameter {name} is not supported: models keep no state here.", "data.unsupported")


def _raw_shape(kind: TensorType, size: int) -> tuple[int, ...]:
    """The shape that a tensor of `size` bytes must have: at most one free dim can be found."""
    if kind.shape is None or kind.shape.count(-1) > 1:
        raise bad_input(kind.name, "has more than one free dimension: send its shape in a JSON header", "data.shape")
    fixed = math.prod(dim for dim in kind.shape if dim != -1) * kind.itemsize
    if -1 in kind.shape and (not fixed or size % fixed):
        raise bad_input(kind.name, f"has {size} bytes, which is no multiple of {fixed}", "data.shape")
    return tuple(size // fixed if dim == -1 else dim for dim in kind.shape)


def _binary_size(item: dict[str, Any], kind: TensorType, left: int) -> int:
    parameters = item.get("parameters")
    size = parameters.get("binary_data_size") if type(parameters) is dict else None
    if size is None:
        if type(parameters) is dict and "shared_memory_region" in parameters:
            raise bad_input(kind.name, "refers to shared memory, which this server does not offer", "data.unsupported")
        raise bad_input(kind.name, "has no data", "data.missing")
    if type(size) is not int or not 0 <= size <= left:
        raise bad_input(kind.name, f"has a binary_data_size outside the {left} bytes that are left", "request.length")
    return size


def _wanted_output(item: Any, default: bool) -> tuple[str, bool]:
    name = item.get("name") if type(item) is dict else None
    if type(name) is not str:
        raise _bad("Each output must be an object with a name.")
    parameters = item.get("parameters")
    if parameters is None:
        return name, default
    if type(parameters) is not dict:
        raise _bad("“parameters” of an output must be an object.")
    for unsupported in ("classification", "shared_memory_region"):
        if parameters.get(unsupported):
            raise _bad(f"The parameter {unsupported} is not supported.", "data.unsupported")
    binary = parameters.get("binary_data", default)
    if type(binary) is not bool:
        raise _bad("“binary_data” must be true or false.")
    return name, binary
