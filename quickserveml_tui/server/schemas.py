"""What the OpenAPI document says about bodies that the codecs read themselves."""

from __future__ import annotations

from typing import Any

from quickserveml_tui.services.schema import example_elements, example_requests, model_schema
from quickserveml_tui.services.serving import ServingService
from quickserveml_tui.wire.datatypes import DATATYPE_BY_ONNX

_EXAMPLE_ELEMENTS = 256
"""Values up to which an example helps the reader: a picture's worth of numbers does not."""

Responses = dict[int | str, dict[str, Any]]

_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"type": "string", "enum": list(DATATYPE_BY_ONNX.values())},
        "parameters": {"type": "object"},
        "data": {"type": "array", "items": {}, "description": "Values, flat in row-major order or nested"},
    },
}
_INFER_REQUEST = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "parameters": {"type": "object"},
        "inputs": {"type": "array", "items": _TENSOR},
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "parameters": {"type": "object"}},
            },
        },
    },
}
INDEX_BODY: dict[str, Any] = {
    "requestBody": {
        "required": False,
        "content": {"application/json": {"schema": {"type": "object", "properties": {"ready": {"type": "boolean"}}}}},
    }
}


def _error(description: str, media_type: str, properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties}
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _errors(media_type: str, properties: dict[str, Any]) -> Responses:
    reasons = {
        400: "The request is malformed or does not fit the model",
        404: "No such model or version",
        413: "The body is too large",
        503: "Overloaded or draining; see Retry-After",
        504: "The model was not run, or did not answer, in time",
    }
    return {status: _error(reason, media_type, properties) for status, reason in reasons.items()}


_TEXT = {"type": "string"}
PROTOCOL_ERRORS = _errors("application/json", {"error": _TEXT})
PROBLEMS = _errors(
    "application/problem+json",
    {"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "code": _TEXT, "detail": _TEXT, "hint": _TEXT},
)


def infer_body(serving: ServingService) -> dict[str, Any]:
    """Request body of the inference protocol, with an example for the default model, where there is one."""
    schema: dict[str, Any] = {"schema": _INFER_REQUEST}
    if not serving.models:
        return _body(schema)
    model = serving.default()
    if example_elements(model.session) > _EXAMPLE_ELEMENTS:
        return _body(schema)
    example = example_requests(model.session).get("open_inference")
    return _body(schema | {"example": example} if example else schema)


def _body(as_json: dict[str, Any]) -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    content = {"application/json": as_json, "application/octet-stream": binary}
    return {"requestBody": {"required": True, "content": content}}


def predict_body(serving: ServingService) -> dict[str, Any]:
    """Request body of the short form for the default model; without one, any JSON."""
    if not serving.models:
        return {"requestBody": {"required": True, "content": {"application/json": {"schema": {}}}}}
    model = serving.default()
    document = model_schema(model.session)
    schema = document["request"]["$defs"]["predict"]
    content: dict[str, Any] = {"schema": schema}
    if "predict" in document["examples"] and example_elements(model.session) <= _EXAMPLE_ELEMENTS:
        content["example"] = document["examples"]["predict"]
    return {"requestBody": {"required": True, "content": {"application/json": content}}}
