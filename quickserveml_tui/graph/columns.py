"""Read the fields of thousands of protobuf messages at once, column by column."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx

from quickserveml_tui.graph.protobuf import (
    BYTES,
    FIXED32,
    FIXED64,
    MAX_FIELD_NUMBER,
    VARINT,
    WireError,
    read_tag,
    read_varint,
    skip_value,
)
from quickserveml_tui.graph.reading import Node

Array: TypeAlias = "np.ndarray[Any, Any]"
FEW = 64
"""Messages below which a plain loop is faster."""

INPUT, OUTPUT, NAME, OP_TYPE, ATTRIBUTE, DOMAIN, OVERLOAD = 1, 2, 3, 4, 5, 7, 8
_NODE_FIELDS = (INPUT, OUTPUT, NAME, OP_TYPE, ATTRIBUTE, DOMAIN, OVERLOAD)
_BODY_FIELDS = (5, 6, 10, 11, 22, 23)
"""t, g, tensors, graphs, sparse_tensor, sparse_tensors of AttributeProto."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Length-delimited fields of messages in one buffer; of one message, they keep their order."""

    owner: Array
    """Position of the message."""
    number: Array
    begin: Array
    end: Array

    def only(self, number: int) -> Fields:
        """Those with one number."""
        chosen = self.number == number
        return Fields(self.owner[chosen], self.number[chosen], self.begin[chosen], self.end[chosen])


def read_fields(data: bytes, begin: Array, end: Array, numbers: Collection[int]) -> Fields:
    """The length-delimited fields with these numbers of the messages that lie at `begin` to `end`.

    All messages are walked side by side, a field of each at a time: 0.2 µs a field. Raises `WireError`.
    """
    reader = _Reader(data, frozenset(numbers))
    reader.read(begin.astype(np.int64), end.astype(np.int64))
    return reader.fields()


class _Reader:
    def __init__(self, data: bytes, numbers: frozenset[int]) -> None:
        self._data = data
        self._bytes = np.frombuffer(data, dtype=np.uint8)
        self._numbers = np.array(sorted(numbers))
        self._wanted = numbers
        self._found: list[tuple[Array, ...]] = []

    def fields(self) -> Fields:
        """What was read."""
        if not self._found:
            none = np.zeros(0, dtype=np.int32)
            return Fields(none, none, none, none)
        owner, number, begin, end = (np.concatenate(column) for column in zip(*self._found, strict=True))
        return Fields(owner, number, begin, end)

    def read(self, at: Array, end: Array) -> None:
        owner = np.arange(len(at))
        while True:
            left = at < end
            if not left.all():
                owner, at, end = owner[left], at[left], end[left]
            if len(at) < max(FEW, 1):
                break
            tag, at = self._varints(at, end)
            number, wire = tag >> 3, tag & 7
            if ((number < 1) | (number > MAX_FIELD_NUMBER)).any():
                raise WireError("field number")
            begin, at = self._values(wire, at, end)
            keep = (wire == BYTES) & np.isin(number, self._numbers)
            self._keep(owner[keep], number[keep], begin[keep], at[keep])
        for one, start, stop in zip(owner.tolist(), at.tolist(), end.tolist(), strict=True):
            self._read_one(one, start, stop)

    def _values(self, wire: Array, at: Array, end: Array) -> tuple[Array, Array]:
        """Where the values begin and end."""
        begin, stop = at, np.full_like(at, -1)
        delimited = np.flatnonzero(wire == BYTES)
        if len(delimited):
            length, start = self._varints(at[delimited], end[delimited])
            if ((length < 0) | (length > end[delimited] - start)).any():
                raise WireError("cut")
            begin = at.copy()
            begin[delimited], stop[delimited] = start, start + length
        numeric = np.flatnonzero(wire == VARINT)
        if len(numeric):
            stop[numeric] = self._varints(at[numeric], end[numeric])[1]
        for kind, size in ((FIXED32, 4), (FIXED64, 8)):
            fixed = wire == kind
            stop[fixed] = at[fixed] + size
        if (stop < 0).any():
            raise WireError("wire type")
        if (stop > end).any():
            raise WireError("cut")
        return begin, stop

    def _varints(self, at: Array, end: Array) -> tuple[Array, Array]:
        """The numbers at these positions and the positions behind them."""
        if (at >= end).any():
            raise WireError("cut")
        digits = self._bytes[at]
        value, at = (digits & 0x7F).astype(np.int64), at + 1
        more = np.flatnonzero(digits >= 0x80)
        for shift in range(7, 70, 7):  # a negative number takes ten bytes
            if not len(more):
                break
            if (at[more] >= end[more]).any():
                raise WireError("cut")
            digits = self._bytes[at[more]]
            value[more] |= (digits & 0x7F).astype(np.int64) << shift
            at[more] += 1
            more = more[digits >= 0x80]
        if len(more):
            raise WireError("varint")
        return value, at

    def _read_one(self, owner: int, at: int, end: int) -> None:
        data = memoryview(self._data)[:end]
        found = []
        while at < end:
            number, wire, at = read_tag(data, at)
            begin = at
            if wire == BYTES:
                length, begin = read_varint(data, at)
                at = begin + length
                if at > end:
                    raise WireError("cut")
                if number in self._wanted:
                    found.append((owner, number, begin, at))
            else:
                at = skip_value(data, at, wire)
        if found:
            self._keep(*(np.array(column) for column in zip(*found, strict=True)))

    def _keep(self, *columns: Array) -> None:
        self._found.append(tuple(column.astype(np.int32) for column in columns))


class NodeColumns:
    """The nodes of a graph as columns of byte strings, read without parsing them.

    Raises `WireError` for nodes that are no protobuf messages.
    """

    def __init__(self, nodes: Sequence[bytes]) -> None:
        nodes = list(nodes)
        sizes = np.fromiter(map(len, nodes), dtype=np.int64, count=len(nodes))
        self._data = b"".join(nodes)
        self._end = np.cumsum(sizes)
        self._begin = self._end - sizes
        self._fields = read_fields(self._data, self._begin, self._end, _NODE_FIELDS)

    def __len__(self) -> int:
        return len(self._begin)

    def node(self, index: int) -> Node:
        """One node, parsed. Raises protobuf's `DecodeError`."""
        return onnx.NodeProto.FromString(self.data(index))

    def data(self, index: int) -> bytes:
        """One node as it is in the file."""
        return self._data[self._begin[index] : self._end[index]]

    def lists(self, number: int) -> tuple[list[bytes], Array]:
        """The values of a repeated string field that are not empty, and the position of each one's node."""
        fields = self._fields.only(number)
        filled = fields.end > fields.begin
        return self._slices(fields.begin[filled], fields.end[filled]), fields.owner[filled]

    def slots(self, number: int) -> tuple[list[bytes], Array, Array]:
        """All values of a repeated string field, with the position of each one's node and its own in there."""
        fields = self._fields.only(number)
        order = np.argsort(fields.owner, kind="stable")
        owner = fields.owner[order]
        first = np.searchsorted(owner, owner)
        return self._slices(fields.begin[order], fields.end[order]), owner, np.arange(len(owner)) - first

    def strings(self, number: int) -> list[bytes]:
        """The value of a string field of each node, empty where it has none."""
        fields = self._fields.only(number)
        begin = np.zeros(len(self), dtype=np.int32)
        end = begin.copy()
        begin[fields.owner], end[fields.owner] = fields.begin, fields.end  # of several the last counts
        return self._slices(begin, end)

    def has(self, number: int) -> bool:
        """Whether any node has the field."""
        return bool((self._fields.number == number).any())

    def _slices(self, begin: Array, end: Array) -> list[bytes]:
        data = self._data
        return [data[start:stop] for start, stop in zip(begin.tolist(), end.tolist(), strict=True)]

    def with_bodies(self) -> set[int]:
        """Positions of the nodes that have tensors or graphs in their attributes, whatever those call themselves."""
        attributes = self._fields.only(ATTRIBUTE)
        inner = read_fields(self._data, attributes.begin, attributes.end, _BODY_FIELDS)
        return set(attributes.owner[inner.owner].tolist())
