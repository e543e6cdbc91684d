"""The protobuf wire format, as far as walking over fields needs it (protobuf.dev/programming-guides/encoding)."""

from __future__ import annotations

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_FIELD_NUMBER = 2**29 - 1


class WireError(Exception):
    """The bytes do not follow the wire format; the text is `cut` when they end too early."""


def read_varint(data: memoryview, at: int) -> tuple[int, int]:
    """The number at `at` and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise WireError("cut")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise WireError("varint")


def read_tag(data: memoryview, at: int) -> tuple[int, int, int]:
    """Field number, wire type and the position behind the tag."""
    tag, at = read_varint(data, at)
    number = tag >> 3
    if not 1 <= number <= MAX_FIELD_NUMBER:
        raise WireError("field number")
    return number, tag & 7, at


def skip_value(data: memoryview, at: int, wire: int) -> int:
    """The position behind a value of this wire type."""
    if wire == VARINT:
        return read_varint(data, at)[1]
    if wire == BYTES:
        length, at = read_varint(data, at)
        at += length
    elif wire == FIXED64:
        at += 8
    elif wire == FIXED32:
        at += 4
    else:
        raise WireError("wire type")
    if at > len(data):
        raise WireError("cut")
    return at


def varint(value: int) -> bytes:
    """A number as the wire writes it."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, payload: bytes | memoryview) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | BYTES) + varint(len(payload)) + bytes(payload)
