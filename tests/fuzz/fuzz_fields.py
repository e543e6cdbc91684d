"""A serialised ONNX message as a tree of fields that can be changed in one place and written again.

Fields are immutable and keep their bytes, so a change costs only the way up to the root.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import onnx

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_FIELDS = 4_000
MAX_DEPTH = 60


@dataclass(frozen=True, slots=True)
class Slot:
    """What the schema says of a field."""

    wire: int
    message: str = ""
    """The message it holds, if it holds one."""
    is_text: bool = False
    is_packable: bool = False


_BYTE_TYPES, _FIXED64_TYPES, _FIXED32_TYPES = (9, 11, 12), (1, 6, 16), (2, 7, 15)


def _slot(field: Any) -> Slot:
    if field.type in _BYTE_TYPES:
        return Slot(BYTES, field.message_type.name if field.message_type else "", field.type == 9)
    wire = FIXED64 if field.type in _FIXED64_TYPES else FIXED32 if field.type in _FIXED32_TYPES else VARINT
    return Slot(wire, is_packable=True)


def _read_schema(root: Any) -> dict[str, dict[int, Slot]]:
    schema: dict[str, dict[int, Slot]] = {}
    todo = [root]
    while todo:
        message = todo.pop()
        if message.name not in schema:
            schema[message.name] = {field.number: _slot(field) for field in message.fields}
            todo += [field.message_type for field in message.fields if field.message_type]
    return schema


SCHEMA = _read_schema(onnx.ModelProto.DESCRIPTOR)
"""Fields by number of each message that a ModelProto may hold."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field with its bytes, which may lie about it."""

    number: int
    wire: int
    value: int | bytes | tuple[Field, ...]
    """The fields of a message that follows the schema; else the plain value."""
    message: str
    encoded: bytes

    @property
    def children(self) -> tuple[Field, ...]:
        return self.value if isinstance(self.value, tuple) else ()


def make(number: int, wire: int, value: int | bytes | tuple[Field, ...], message: str = "") -> Field:
    tag = varint(number << 3 | wire)
    if isinstance(value, int):
        return Field(number, wire, value, message, tag + varint(value & 2**64 - 1))
    payload = join(value) if isinstance(value, tuple) else value
    return Field(number, wire, value, message, tag + (varint(len(payload)) if wire == BYTES else b"") + payload)


def join(fields: tuple[Field, ...]) -> bytes:
    return b"".join([field.encoded for field in fields])


def payload(field: Field) -> bytes:
    """The bytes behind tag and length."""
    if isinstance(field.value, tuple):
        return join(field.value)
    return field.value if isinstance(field.value, bytes) else varint(field.value & 2**64 - 1)


class _UnreadableError(Exception):
    pass


def varint(value: int) -> bytes:
    """A number as the wire writes it."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise _UnreadableError


class _Parser:
    """Own code on purpose: it must not share a mistake with what it feeds."""

    def __init__(self, data: bytes) -> None:
        self._data, self._left = data, MAX_FIELDS

    def message(self, at: int, end: int, name: str, depth: int) -> tuple[Field, ...]:
        found = []
        slots = SCHEMA[name]
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise _UnreadableError
            field, at = self._field(at, end, slots, depth)
            found.append(field)
        return tuple(found)

    def _field(self, start: int, end: int, slots: dict[int, Slot], depth: int) -> tuple[Field, int]:
        data = self._data
        tag, at = _varint(data, start, end)
        number, wire = tag >> 3, tag & 7
        if not number:
            raise _UnreadableError
        if wire == VARINT:
            value, at = _varint(data, at, end)
            return Field(number, wire, value, "", data[start:at]), at
        if wire == BYTES:
            length, at = _varint(data, at, end)
        elif wire in (FIXED64, FIXED32):
            length = 8 if wire == FIXED64 else 4
        else:
            raise _UnreadableError
        if at + length > end:
            raise _UnreadableError
        inner: tuple[Field, ...] | bytes = data[at : at + length]
        slot = slots.get(number)
        name = slot.message if slot and wire == BYTES and depth < MAX_DEPTH else ""
        if name:
            try:
                inner = self.message(at, at + length, name, depth + 1)
            except _UnreadableError:
                name = ""
        return Field(number, wire, inner, name, data[start : at + length]), at + length


@lru_cache(maxsize=1024)
def parse(data: bytes) -> tuple[Field, ...] | None:
    """The fields of a ModelProto; None where the bytes do not follow the wire format at the top level."""
    try:
        return _Parser(data).message(0, len(data), "ModelProto", 0)
    except _UnreadableError:
        return None


def walk(fields: tuple[Field, ...], message: str = "ModelProto") -> Iterator[tuple[str, Field]]:
    """Every field with the name of the message that holds it."""
    for field in fields:
        yield message, field
        if field.children:
            yield from walk(field.children, field.message)
