"""Virtual external data: how a tensor refers to data that lies in the model file itself, and how that is read back."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from quickserveml_tui.graph.protobuf import BYTES, FIXED32, FIXED64, VARINT, WireError, varint
from quickserveml_tui.graph.protobuf import field as wire_field

if TYPE_CHECKING:
    import numpy as np

INLINE = "#" + secrets.token_hex(16)
"""Location that stands for “in this file”: random, so that no file can claim it, and with the `#` at which onnx's
checker does not look for a file."""
MAX_CHUNKS = 64
"""A tensor in more pieces keeps its data: no writer makes such a file, and the list would be longer than the data."""
_SLICE_BYTES = 1 << 20
_EXTERNAL_DATA, _DATA_LOCATION, _EXTERNAL = 13, 14, 1


@dataclass(frozen=True, slots=True)
class Form:
    """A field of TensorProto that holds data."""

    name: str
    wire: int
    """Wire type of one unpacked value."""
    value_bytes: int = 0
    """Size of a value; 0 where it varies."""


RAW, STRINGS = 9, 6
FORMS: dict[int, Form] = {
    4: Form("float_data", FIXED32, 4),
    5: Form("int32_data", VARINT),
    STRINGS: Form("string_data", BYTES),
    7: Form("int64_data", VARINT),
    RAW: Form("raw_data", BYTES),
    10: Form("double_data", FIXED64, 8),
    11: Form("uint64_data", VARINT),
}
"""By field number (onnx.proto)."""
_NUMBERS = {form.name: number for number, form in FORMS.items()}


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of the model file."""

    offset: int
    length: int
    packed: bool
    """Values only; else each value comes with its tag."""

    def text(self) -> str:
        """As it stands in a reference."""
        return f"{'p' if self.packed else 'u'}{self.offset}:{self.length}"


def _chunk(text: str) -> Chunk:
    offset, _, length = text[1:].partition(":")
    return Chunk(int(offset), int(length), text[0] == "p")


@dataclass(slots=True)
class Payload:
    """A tensor's data as it lies in the model file."""

    number: int = 0
    """Field of TensorProto."""
    chunks: list[Chunk] = field(default_factory=list)
    values: int | None = 0
    """Values, for `raw_data` bytes; None where nobody counted them."""

    @property
    def form(self) -> Form:
        """How the data is encoded."""
        return FORMS[self.number]

    @property
    def least_bytes(self) -> int:
        """A lower bound of what the values take when packed."""
        total = 0
        for chunk in self.chunks:
            size = self.form.value_bytes
            unpacked = chunk.length * size // (size + 1) if size else chunk.length // 2
            total += chunk.length if chunk.packed or self.number == STRINGS else unpacked
        return total

    def add(self, chunk: Chunk) -> None:
        """Add the next piece; of several raw ones the last counts, as for every parser."""
        if self.number == STRINGS and self.values is not None:
            self.values += 1
        last = self.chunks[-1] if self.chunks else None
        if self.number == RAW:
            self.chunks = [chunk]
        elif last and not last.packed and not chunk.packed and last.offset + last.length == chunk.offset:
            self.chunks[-1] = Chunk(last.offset, last.length + chunk.length, packed=False)
        else:
            self.chunks.append(chunk)

    def count(self, data: memoryview, *, varying: bool) -> None:
        """Count the values; those of varying size have to be read for it, and are left out unless `varying`."""
        size = self.form.value_bytes
        if self.number == RAW:
            self.values = self.chunks[0].length
        elif size:
            if any(chunk.length % (size if chunk.packed else size + 1) for chunk in self.chunks):
                raise WireError("size")
            self.values = sum(chunk.length // (size if chunk.packed else size + 1) for chunk in self.chunks)
        elif self.number != STRINGS:
            self.values = sum(_count_varints(data, chunk) for chunk in self.chunks) if varying else None


def _count_varints(data: memoryview, chunk: Chunk) -> int:
    import numpy as np

    end, count = chunk.offset + chunk.length, 0
    for at in range(chunk.offset, end, _SLICE_BYTES):
        part = np.frombuffer(data[at : min(at + _SLICE_BYTES, end)], dtype=np.uint8)
        count += int(np.count_nonzero(part < 0x80))
    return count if chunk.packed else count // 2  # a tag before each value


def _entry(key: str, value: str) -> bytes:
    return wire_field(_EXTERNAL_DATA, wire_field(1, key.encode()) + wire_field(2, value.encode()))


def encode(payload: Payload) -> bytes:
    """The fields of a TensorProto that refer to the data; its `offset` and `length` are those of the first piece."""
    first = payload.chunks[0]
    entries = {"location": INLINE, "offset": str(first.offset), "length": str(first.length), "form": payload.form.name}
    if payload.values is not None:
        entries["values"] = str(payload.values)
    if len(payload.chunks) > 1 or not first.packed:
        entries["chunks"] = " ".join(chunk.text() for chunk in payload.chunks)
    location = varint(_DATA_LOCATION << 3 | VARINT) + varint(_EXTERNAL)
    return b"".join(_entry(key, value) for key, value in entries.items()) + location


def decode(entries: dict[str, str]) -> Payload | None:
    """The payload that the external data of a tensor refers to; None for data in another file."""
    if entries.get("location") != INLINE:
        return None
    chunks = [Chunk(int(entries["offset"]), int(entries["length"]), packed=True)]
    if "chunks" in entries:
        chunks = [_chunk(text) for text in entries["chunks"].split()]
    values = entries.get("values")
    return Payload(_NUMBERS[entries["form"]], chunks, None if values is None else int(values))


def numbers(data: memoryview, payload: Payload) -> np.ndarray[Any, Any]:
    """The values, or for `raw_data` the bytes, as a flat array: float32, float64, uint64 (varints as written) or uint8.

    `data` is the model file. A single packed piece of fixed size is a view of it. Raises `ValueError` for strings.
    """
    import numpy as np

    if payload.number == STRINGS:
        raise ValueError("strings are no numbers")
    parts = [_array(data[chunk.offset : chunk.offset + chunk.length], payload, chunk) for chunk in payload.chunks]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _array(part: memoryview, payload: Payload, chunk: Chunk) -> np.ndarray[Any, Any]:
    import numpy as np

    size = payload.form.value_bytes
    if payload.number == RAW:
        return np.frombuffer(part, dtype=np.uint8)
    if not size:
        values = _varints(np.frombuffer(part, dtype=np.uint8))
        return values if chunk.packed else values[1::2]
    if not chunk.packed:
        part = memoryview(np.frombuffer(part, dtype=np.uint8).reshape(-1, size + 1)[:, 1:].tobytes())
    return np.frombuffer(part, dtype=f"<f{size}")


def _varints(data: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    ends = np.flatnonzero(data < 0x80)
    starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
    values = np.zeros(len(ends), dtype=np.uint64)
    for place in range(10):
        longer = np.flatnonzero(ends - starts >= place)
        digits = (data[starts[longer] + place] & 0x7F).astype(np.uint64)
        values[longer] |= digits << np.uint64(7 * place)
    return values
