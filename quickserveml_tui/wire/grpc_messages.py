"""The messages of `inference.GRPCInferenceService`, as classes of protobuf."""

from __future__ import annotations

from functools import cache
from typing import Any

from quickserveml_tui.wire.grpc_schema import Schema
from quickserveml_tui.wire.grpc_tables import ENUMS, MESSAGES, PACKAGE


@cache
def schema() -> Schema:
    """All messages; made once, by the first who asks."""
    return Schema(PACKAGE, MESSAGES, ENUMS)


def message_class(name: str) -> Any:
    """The class of a message such as `ModelInferRequest`."""
    return schema().classes[name]


def message(name: str, document: dict[str, Any] | None = None) -> Any:
    """A message with the fields of a document; those that the message does not have are left out."""
    found = message_class(name)()
    if document:
        fill(found, document)
    return found


def fill(target: Any, document: dict[str, Any]) -> None:
    """Set the fields of a message from a document of dicts, lists and scalars.

    Enums are given by name. Raises `TypeError` or `ValueError` for values of other types.
    """
    for field in target.DESCRIPTOR.fields:
        value = document.get(field.name)
        if value is None:
            continue
        if isinstance(value, dict):
            part = getattr(target, field.name)
            part.SetInParent()
            fill(part, value)
        elif field.message_type is not None:
            for item in value:
                fill(getattr(target, field.name).add(), item)
        elif isinstance(value, (list, tuple)):
            getattr(target, field.name).extend(value)
        elif field.enum_type is not None:
            setattr(target, field.name, field.enum_type.values_by_name[value].number)
        else:
            setattr(target, field.name, value)
