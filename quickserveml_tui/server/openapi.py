"""The OpenAPI document: types of ours as schemas, and what every route can answer beside its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from quickserveml_tui.server.answers import is_protocol_path

_REFERENCE = "#/components/schemas/{name}"
_REFERRED = re.compile(r"#/components/schemas/(\w+)")
_JSON, _PROBLEM = "application/json", "application/problem+json"
_METHODS = ("get", "put", "post", "delete", "patch", "head", "options")

_EVERYWHERE = {
    400: "The request is malformed or does not fit",
    401: "No API key, or one that does not hold (only where the server asks for keys)",
    403: "The key lacks the scope, or the Host or Origin is not the server's",
    408: "The request did not come in time",
    413: "The body is too large",
    429: "Too many requests; see Retry-After",
    431: "The headers are too large",
    503: "Overloaded, draining, or a store is not available; see Retry-After",
}
"""What the connection or a dependency may answer in front of any route."""
_PUBLIC = ("/v2/health/live", "/v2/health/ready", "/health")

_EVENT = {
    "type": "object",
    "description": "An event; its data is a JSON document",
    "required": ["data"],
    "properties": {"event": {"type": "string"}, "id": {"type": "string"}, "data": {"type": "string"}},
}

_documented: dict[str, type[Any]] = {}
_read: set[str] = set()
"""Names of the types that requests bring: fields which those lack are refused."""


def reference(kind: type[Any]) -> dict[str, Any]:
    """A reference to the schema of a type of ours (a dataclass or `msgspec.Struct`), which the document will have."""
    _documented[kind.__name__] = kind
    return {"$ref": _REFERENCE.format(name=kind.__name__)}


def answers(
    kind: type[Any] | None = None,
    status: int = 200,
    *,
    text: str = "Done",
    errors: Mapping[int, str] | None = None,
    headers: Sequence[str] = (),
    media_type: str = _JSON,
) -> dict[int | str, dict[str, Any]]:
    """What goes into `responses` of a route: its answer and the errors of its own."""
    good: dict[str, Any] = {"description": text}
    if kind is not None:
        good["content"] = {media_type: {"schema": reference(kind)}}
    elif media_type != _JSON:
        good["content"] = {media_type: {"schema": _EVENT if media_type == "text/event-stream" else {"type": "string"}}}
    if headers:
        good["headers"] = {name: {"schema": {"type": "string"}} for name in headers}
    found: dict[int | str, dict[str, Any]] = {status: good}
    for code, reason in (errors or {}).items():
        found[code] = _error(reason, protocol=False)
    return found


def body(kind: type[Any], *, required: bool = True, example: Any = None) -> dict[str, Any]:
    """What goes into `openapi_extra` of a route that reads a JSON body itself."""
    content: dict[str, Any] = {"schema": reference(kind)}
    _read.add(kind.__name__)
    if example is not None:
        content["example"] = example
    return {"requestBody": {"required": required, "content": {_JSON: content}}}


def _error(text: str, *, protocol: bool) -> dict[str, Any]:
    name = "ProtocolError" if protocol else "Problem"
    content = {_JSON if protocol else _PROBLEM: {"schema": {"$ref": _REFERENCE.format(name=name)}}}
    return {"description": text, "content": content}


_TEXT = {"type": "string"}
_ERRORS: dict[str, Any] = {
    "Problem": {
        "type": "object",
        "description": "Problem details (RFC 9457)",
        "required": ["type", "title", "status", "code", "detail", "hint"],
        "properties": {
            "type": _TEXT,
            "title": _TEXT,
            "status": {"type": "integer"},
            "code": {"type": "string", "description": "Stable; docs/errors.md lists the codes"},
            "detail": {"type": "string", "description": "What happened and why"},
            "hint": {"type": "string", "description": "What to do about it"},
        },
    },
    "ProtocolError": {"type": "object", "required": ["error"], "properties": {"error": _TEXT}},
}


def complete(app: FastAPI) -> None:
    """Let an application's document tell every status that can occur, with the schemas of our types."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            app.openapi_schema = _completed(made)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign] # FastAPI's own way to replace it


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    components: dict[str, Any] = document.setdefault("components", {})
    schemas: dict[str, Any] = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    kinds = [_documented[name] for name in sorted(_documented)]
    schemas |= msgspec.json.schema_components(kinds, ref_template=_REFERENCE)[1] | _ERRORS
    _close(schemas, _read)
    components["schemas"] = dict(sorted(schemas.items()))
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key, where the server asks for keys"}
    }
    for path, operations in document.get("paths", {}).items():
        for method in _METHODS:
            if method in operations:
                _complete_operation(path, operations[method])
    return document


def _close(schemas: dict[str, Any], names: Iterable[str]) -> None:
    """Let the schemas of bodies, and those that they refer to, take no other fields."""
    waiting, closed = set(names), set[str]()
    while waiting:
        name = waiting.pop()
        closed.add(name)
        schema = schemas[name]
        if "properties" in schema:
            schema["additionalProperties"] = False
        waiting |= set(_REFERRED.findall(str(schema))) - closed


def _complete_operation(path: str, operation: dict[str, Any]) -> None:
    protocol = is_protocol_path(path)
    found: dict[str, Any] = operation.setdefault("responses", {})
    if "HTTPValidationError" in str(found.get("422", "")):
        del found["422"]  # what does not validate is answered with 400
    extra = dict(_EVERYWHERE)
    if "{" in path:
        extra[404] = "There is no such thing here, or none that this key may see"
    for status, reason in extra.items():
        there = found.get(str(status))
        if there is None or "content" not in there:
            found[str(status)] = _error(there["description"] if there else reason, protocol=protocol)
    if path not in _PUBLIC:
        operation["security"] = [{}, {"key": []}]
    operation["responses"] = dict(sorted(found.items()))
