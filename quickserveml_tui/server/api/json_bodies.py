"""JSON bodies by their types: fields that a type lacks are named, wherever they are in it."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from msgspec import inspect

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.text import safe_text

_MANY = (inspect.ListType, inspect.VarTupleType, inspect.SetType, inspect.FrozenSetType)


def check_fields(document: object, kind: type[Any]) -> None:
    """Raise `DataError` (`request.unknown_field`) when JSON has a field that the type, or one in it, does not."""
    found = next(_unknown(document, inspect.type_info(kind), ""), None)
    if found is None:
        return
    path, name, known = found
    near = get_close_matches(name[:60], known, 1)
    guess = f"Did you mean “{near[0]}”? " if near else ""
    where = f" in “{path}”" if path else ""
    raise DataError(
        f"The body has the unknown field “{safe_text(name, 60)}”{where}.",
        hint=f"{guess}Leave it out; the fields are: {', '.join(known)}.",
        code="request.unknown_field",
    )


def _unknown(value: object, info: inspect.Type, path: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Where an unknown field is, its name, and the known ones."""
    if isinstance(info, inspect.UnionType):
        for option in info.types:
            yield from _unknown(value, option, path)
    elif isinstance(info, inspect.DataclassType | inspect.StructType) and isinstance(value, dict):
        fields = {field.encode_name: field.type for field in info.fields}
        for name, item in value.items():
            if name not in fields:
                yield path, name, tuple(fields)
            else:
                yield from _unknown(item, fields[name], f"{path}.{name}" if path else name)
    elif isinstance(info, _MANY) and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(item, info.item_type, f"{path}.{index}")
