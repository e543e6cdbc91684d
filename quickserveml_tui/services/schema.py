"""The JSON Schema (2020-12) of a model's request and response, and an example request."""

from __future__ import annotations

import math
from typing import Any, Protocol

from quickserveml_tui.core.tensors import Dim, TensorSpec
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.units import format_count
from quickserveml_tui.services.schema_kinds import describe, short_form
from quickserveml_tui.wire.datatypes import DATATYPE_BY_ONNX

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MAX_EXAMPLE_ELEMENTS = 200_000
"""A picture of 3×224×224 fits; what is larger belongs into a binary request."""

_BITS = {"INT8": 8, "INT16": 16, "INT32": 32, "INT64": 64, "UINT8": 8, "UINT16": 16, "UINT32": 32, "UINT64": 64}


class Signature(Protocol):
    """What takes and gives tensors: the facts of a model, or a session."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What it takes."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What it gives."""
        ...


def _datatype(spec: TensorSpec) -> str | None:
    """The protocol's name of the element type, where JSON can carry it; bfloat16 travels in binary form only."""
    datatype = DATATYPE_BY_ONNX.get(spec.dtype) if spec.kind == "tensor" else None
    return None if datatype == "BF16" else datatype


def _leaf(datatype: str) -> dict[str, Any]:
    if datatype == "BOOL":
        return {"type": "boolean"}
    if datatype == "BYTES":
        return {"type": "string"}
    if datatype in _BITS:
        bits = _BITS[datatype]
        signed = not datatype.startswith("U")
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        return {"type": "integer", "minimum": low, "maximum": high}
    return {"type": "number"}


def _dim(dim: Dim) -> dict[str, Any]:
    if isinstance(dim, int):
        return {"const": dim}
    free: dict[str, Any] = {"type": "integer", "minimum": 0}
    return free | {"title": safe_text(dim, 80)} if dim else free


def _protocol_tensor(spec: TensorSpec, *, wants_data: bool) -> dict[str, Any]:
    """A tensor in the JSON form of the Open Inference Protocol: its data flat or nested."""
    datatype = _datatype(spec)
    shape: dict[str, Any] = {"type": "array", "items": {"type": "integer", "minimum": 0}}
    if spec.shape is not None:
        shape = {"type": "array", "prefixItems": [_dim(dim) for dim in spec.shape], "minItems": len(spec.shape),
                 "maxItems": len(spec.shape)}  # fmt: skip
        if not spec.shape:
            shape = {"type": "array", "maxItems": 0}
    return {
        "type": "object",
        "properties": {
            "name": {"const": spec.name},
            "datatype": {"const": datatype or "BF16"},
            "shape": shape,
            "data": {"type": "array", "items": {"anyOf": [_leaf(datatype or ""), {"type": "array"}]}},
        },
        "required": ["name", "datatype", "shape", *(["data"] if wants_data else [])],
        "description": describe(spec),
    }


def _all_of(specs: tuple[TensorSpec, ...], *, wants_data: bool) -> dict[str, Any]:
    """A list that holds each tensor, in any order."""
    tensors = [_protocol_tensor(spec, wants_data=wants_data) for spec in specs]
    schema: dict[str, Any] = {"type": "array", "items": {"anyOf": tensors}} if tensors else {"type": "array"}
    contained = [{"contains": {"properties": {"name": {"const": spec.name}}, "required": ["name"]}} for spec in specs]
    return schema | ({"allOf": contained, "minItems": len(specs), "maxItems": len(specs)} if contained else {})


def _protocol_request(signature: Signature) -> dict[str, Any]:
    return {
        "title": "Open Inference Protocol v2: POST /v2/models/MODEL/infer",
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "inputs": _all_of(signature.inputs, wants_data=True),
            "outputs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"name": {"enum": [spec.name for spec in signature.outputs]}},
                    "required": ["name"],
                },
            },
            "parameters": {"type": "object"},
        },
        "required": ["inputs"],
    }


def _protocol_response(signature: Signature) -> dict[str, Any]:
    tensors = [_protocol_tensor(spec, wants_data=True) for spec in signature.outputs if _datatype(spec)]
    return {
        "title": "Open Inference Protocol v2",
        "type": "object",
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "outputs": {"type": "array", "items": {"anyOf": tensors}} if tensors else {"type": "array"},
        },
        "required": ["model_name", "outputs"],
    }


def _short(title: str, key: str, specs: tuple[TensorSpec, ...]) -> dict[str, Any]:
    """`{"inputs": {name: nested lists}}` and the like."""
    names = [spec.name for spec in specs if spec.kind != "optional" or key != "inputs"]
    values = {"type": "object", "properties": {spec.name: short_form(spec) for spec in specs}, "required": names}
    return {"title": title, "type": "object", "properties": {key: values}, "required": [key]}


def _either(forms: dict[str, dict[str, Any]]) -> dict[str, Any]:
    references = [{"$ref": f"#/$defs/{name}"} for name in forms]
    return {"$schema": DIALECT, "anyOf": references, "$defs": forms}


def _example_shape(spec: TensorSpec) -> tuple[int, ...]:
    return (1,) if spec.shape is None else tuple(dim if isinstance(dim, int) else 1 for dim in spec.shape)


def _example_value(datatype: str) -> Any:
    return {"BOOL": False, "BYTES": ""}.get(datatype, 0 if datatype in _BITS else 0.0)


def _obstacle(signature: Signature) -> str:
    """Why there is no example; empty when there can be one."""
    for spec in signature.inputs:
        if _datatype(spec) is None:
            name, dtype = safe_text(spec.name, 80), safe_text(spec.dtype, 120)
            if spec.dtype == "bfloat16" and spec.kind == "tensor":
                return f"Over HTTP input “{name}” of type {dtype} travels in the binary form only."
            return f"The server takes no input of type {dtype} (“{name}”): give it to `quickserveml predict --inputs`."
    elements = example_elements(signature)
    if elements > MAX_EXAMPLE_ELEMENTS:
        return f"One request holds {format_count(elements)} values: send it in the binary form, or as NPZ."
    return ""


def example_elements(signature: Signature) -> int:
    """Values in an example request, every free dim being 1."""
    return sum(math.prod(_example_shape(spec)) for spec in signature.inputs)


def example_requests(signature: Signature) -> dict[str, dict[str, Any]]:
    """Requests that the model accepts, every free dim being 1: `open_inference` and `predict` are the same values.

    Empty where there are none: inputs that JSON cannot carry, or more than `MAX_EXAMPLE_ELEMENTS` values.
    """
    if _obstacle(signature):
        return {}
    tensors, nested = [], {}
    for spec in signature.inputs:
        datatype, shape = _datatype(spec) or "", _example_shape(spec)
        value = _example_value(datatype)
        tensors.append(
            {"name": spec.name, "datatype": datatype, "shape": list(shape), "data": [value] * math.prod(shape)}
        )
        for size in reversed(shape):
            value = [value] * size
        nested[spec.name] = value
    return {"open_inference": {"inputs": tensors}, "predict": {"inputs": nested}}


def model_schema(signature: Signature) -> dict[str, Any]:
    """The document with `request`, `response` and `example`; with `note`, why there is no example, where there is none.

    `example` is in the Open Inference Protocol's form; `examples` has both forms by name.
    Both schemas take either the Open Inference Protocol's JSON form (`#/$defs/open_inference`) or the short form of
    `/predict` (`#/$defs/predict`), which `quickserveml predict --inputs FILE.json` takes too. What is no tensor (a
    sequence, a map) comes only in the short form.
    """
    examples = example_requests(signature)
    requests = {
        "open_inference": _protocol_request(signature),
        "predict": _short("Short form: POST /predict", "inputs", signature.inputs),
    }
    if not all(_datatype(spec) for spec in signature.inputs):
        del requests["open_inference"]
    responses = {
        "open_inference": _protocol_response(signature),
        "predict": _short("Short form", "outputs", signature.outputs),
    }
    document = {
        "request": _either(requests),
        "response": _either(responses),
        "example": examples.get("open_inference"),
        "examples": examples,
    }
    obstacle = _obstacle(signature)
    return document | {"note": obstacle} if obstacle else document
