"""Leave the large weights of a serialised model out before it is parsed.

Parsing a 1 GB model as it is takes 2.1 GB and 1.9 s; without its weights 50 MB and 0.1 s.
"""

from __future__ import annotations

import secrets

from quickserveml_tui.graph.protobuf import BYTES, VARINT, WireError, field, read_tag, read_varint, skip_value, varint

MIN_FILE_BYTES = 32 * 2**20
"""Smaller files are parsed as they are: that takes up to 36 ms."""
KEPT_BYTES = 1024
MAX_FIELDS = 5_000_000
"""Five seconds; a large file made of tiny fields is left to the parser."""
MAX_DEPTH = 100
"""Protobuf's own limit of nesting: what lies deeper is refused by its parser."""

INLINE = "\0" + secrets.token_hex(16)
"""Location that stands for “in this file”; random, so that no file can claim it."""

_TENSOR, _VALUE = "TensorProto", "AttributeProto of Constant"
_CHILDREN: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: _TENSOR},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {6: "GraphProto", 11: "GraphProto"},
    _VALUE: {5: _TENSOR},
    _TENSOR: {},
}
"""Field numbers (onnx.proto) that lead to initializers and Constants, where the checker and inference do without data.

Functions, sparse tensors, training graphs and other attributes stay whole.
"""
_OP_TYPE = 4
_RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 9, 13, 14
_EXTERNAL = 1


def skim(data: memoryview) -> bytes | memoryview:
    """The ModelProto in `data` with the raw data of each tensor over `KEPT_BYTES` replaced by a reference to `INLINE`.

    The reference is external data with the length as its `length`. Everything else stays byte for byte, and so does
    what does not follow the wire format or has too many fields: the parser deals better with that.
    """
    try:
        return _Skimmer().rewrite(data, "ModelProto", 0)
    except WireError:
        return data


class _Skimmer:
    def __init__(self) -> None:
        self._fields_left = MAX_FIELDS

    def _count(self) -> None:
        self._fields_left -= 1
        if self._fields_left < 0:
            raise WireError("too many fields")

    def rewrite(self, data: memoryview, kind: str, depth: int) -> bytes | memoryview:
        """The message without large raw data; `data` itself where there is none."""
        if kind == _TENSOR and not self._is_plain(data):
            return data
        children = _CHILDREN[kind] if depth < MAX_DEPTH else {}
        if kind == "NodeProto" and self._is_constant(data):
            children = {5: _VALUE}
        parts: list[bytes | memoryview] = []
        copied = at = 0
        while at < len(data):
            self._count()
            start = at
            number, wire, at = read_tag(data, at)
            if wire != BYTES:
                at = skip_value(data, at, wire)
                continue
            length, body = read_varint(data, at)
            at = body + length
            if at > len(data):
                raise WireError("cut")
            if length <= KEPT_BYTES:
                continue
            if kind == _TENSOR and number == _RAW_DATA:
                parts += [data[copied:start], _reference(length)]
                copied = at
            elif number in children:
                old = data[body:at]
                new = self.rewrite(old, children[number], depth + 1)
                if new is not old:
                    parts += [data[copied:start], field(number, new)]
                    copied = at
        return b"".join([*parts, data[copied:]]) if parts else data

    def _is_constant(self, node: memoryview) -> bool:
        at = 0
        while at < len(node):
            self._count()
            number, wire, body = read_tag(node, at)
            at = skip_value(node, body, wire)
            if number == _OP_TYPE and wire == BYTES:
                return bytes(node[body:at]) == b"\x08Constant"  # length and text
        return False

    def _is_plain(self, tensor: memoryview) -> bool:
        """Whether the tensor has its data inside: one that also refers to a file must be seen as it is."""
        at = 0
        while at < len(tensor):
            self._count()
            number, wire, at = read_tag(tensor, at)
            if number in (_EXTERNAL_DATA, _DATA_LOCATION):
                return False
            at = skip_value(tensor, at, wire)
        return True


def _entry(key: str, value: str) -> bytes:
    return field(_EXTERNAL_DATA, field(1, key.encode()) + field(2, value.encode()))


def _reference(length: int) -> bytes:
    location = varint(_DATA_LOCATION << 3 | VARINT) + varint(_EXTERNAL)
    return _entry("location", INLINE) + _entry("length", str(length)) + location
