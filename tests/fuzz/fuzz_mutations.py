"""Changes to serialised models: of their fields, by the schema, and of their bytes, against it."""

from __future__ import annotations

import random
import struct
from collections import defaultdict
from collections.abc import Callable, Iterable

from fuzz_fields import BYTES, FIXED32, FIXED64, SCHEMA, VARINT, Field, join, make, parse, payload, varint, walk
from fuzz_zips import change_zip

MAX_INPUT_BYTES = 48 * 1024

Message = tuple[Field, ...]
Change = Callable[["Mutator", random.Random, Message, str], Message]

NUMBERS = (0, 1, 2, 3, 7, 8, 16, 22, 31, 63, 64, 100, 127, 128, 255, 256, 1023, 1024, 1025, 4096, 65535, 2**20, 2**24,
           2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1)  # fmt: skip
TEXTS = (b"", b"x", b"y", b"w", b"0", b"\0", b"value", b"Constant", b"ConstantOfShape", b"If", b"Loop", b"Identity",
         b"ai.onnx", b"ai.onnx.ml", b"location", b"offset", b"length", b"weights.bin", b"../weights.bin", b"/dev/zero",
         b"*/_ORT_MEM_ADDR_/*", b"-1", b"18446744073709551616", b"1e3", b"\xd9\xa3", b"\xff\xfe", b"\xc0\x80",
         b"\xed\xa0\x80", b"\xe2\x80\xae", b"\x1b]52;c;x\x07", b"x[/]y", b"?", b"N", b"batch", b"a" * 300,
         b"\xf0\x9f\x98\x80" * 40)  # fmt: skip


def _drop(_: Mutator, rng: random.Random, fields: Message, name: str) -> Message:
    at = rng.randrange(len(fields))
    return fields[:at] + fields[at + rng.choice((1, 1, 1, 2, 8)) :]


def _repeat(_: Mutator, rng: random.Random, fields: Message, name: str) -> Message:
    at, to = rng.randrange(len(fields)), rng.randint(0, len(fields))
    return fields[:to] + (fields[at],) * rng.choice((1, 1, 1, 2, 16, 200)) + fields[to:]


def _swap(_: Mutator, rng: random.Random, fields: Message, name: str) -> Message:
    a, b = rng.randrange(len(fields)), rng.randrange(len(fields))
    changed = list(fields)
    changed[a], changed[b] = changed[b], changed[a]
    return tuple(changed)


def _splice(mutator: Mutator, rng: random.Random, fields: Message, name: str) -> Message:
    """A field of the same kind of message from another model, beside or instead of one that is there."""
    donors = mutator.pool[name]
    if not donors:
        return fields
    at = rng.randint(0, len(fields))
    return (*fields[:at], rng.choice(donors), *fields[at + rng.randint(0, 1) :])


def _invent(_: Mutator, rng: random.Random, fields: Message, name: str) -> Message:
    """A field that the schema allows here, with a value that it may not."""
    number, slot = rng.choice(list(SCHEMA[name].items()))
    at = rng.randint(0, len(fields))
    return (*fields[:at], make(number, slot.wire, _value(rng, slot.wire)), *fields[at:])


def _value(rng: random.Random, wire: int) -> int | bytes:
    if wire == VARINT:
        return rng.choice(NUMBERS)
    if wire == FIXED32:
        return struct.pack("<f", rng.choice((0.0, 1.0, float("nan"), float("inf"))))
    if wire == FIXED64:
        return struct.pack("<Q", rng.choice(NUMBERS))
    return rng.choice(TEXTS) if rng.random() < 0.7 else rng.randbytes(rng.choice((1, 4, 8, 24, 2000)))


def _revalue(_: Mutator, rng: random.Random, fields: Message, name: str) -> Message:
    """Another value of the same wire type."""
    at = rng.randrange(len(fields))
    old = fields[at]
    if isinstance(old.value, int) and rng.random() < 0.3:
        value: int | bytes = max(old.value + rng.choice((-1, 1)), 0)
    elif isinstance(old.value, bytes) and old.value and old.wire == BYTES and rng.random() < 0.5:
        value = _bend(rng, old.value)
    else:
        value = _value(rng, old.wire)
    return (*fields[:at], make(old.number, old.wire, value), *fields[at + 1 :])


def _rewire(_: Mutator, rng: random.Random, fields: Message, name: str) -> Message:
    """The same content under another wire type or number."""
    at = rng.randrange(len(fields))
    old = fields[at]
    wire = rng.choice((VARINT, FIXED64, BYTES, 3, 4, FIXED32, 6, 7))
    number = old.number if rng.random() < 0.6 else rng.choice((0, 1, old.number + 1, 15, 16, 2**29 - 1, 2**29))
    encoded = varint(number << 3 | wire) + (varint(len(payload(old))) if wire == BYTES else b"") + payload(old)
    return (*fields[:at], Field(number, wire, payload(old), "", encoded), *fields[at + 1 :])


def _lie(_: Mutator, rng: random.Random, fields: Message, name: str) -> Message:
    """A length that is not true, or one written longer than it need be."""
    at = rng.randrange(len(fields))
    old = fields[at]
    content = payload(old)
    length = rng.choice((max(len(content) + rng.choice((-8, -1, 1, 8)), 0), *rng.choices(NUMBERS, k=2)))
    if rng.random() < 0.3:
        length = len(content)
    written = varint(length)
    pad = rng.choice((0, 0, 1, 4, 9, 10))
    if pad:
        written = written[:-1] + bytes([written[-1] | 128]) + b"\x80" * (pad - 1) + b"\0"
    encoded = varint(old.number << 3 | BYTES) + written + content
    return (*fields[:at], Field(old.number, BYTES, content, "", encoded), *fields[at + 1 :])


def _pad_tags(_: Mutator, rng: random.Random, fields: Message, name: str) -> Message:
    """Tags written longer than they need be, for every field of one number."""
    number = rng.choice(fields).number
    pad = rng.choice((1, 2, 4, 9))

    def padded(field: Field) -> Field:
        if field.number != number or field.encoded[0] > 127:
            return field
        tag = bytes([field.encoded[0] | 128]) + b"\x80" * (pad - 1) + b"\0"
        return Field(number, field.wire, field.value, field.message, tag + field.encoded[1:])

    return tuple(padded(field) for field in fields)


def _split(_: Mutator, rng: random.Random, fields: Message, name: str) -> Message:
    """One message as two with the same number, which a parser merges."""
    at = rng.randrange(len(fields))
    old = fields[at]
    if len(old.children) < 2:
        return fields
    cut = rng.randint(1, len(old.children) - 1)
    halves = [make(old.number, BYTES, part, old.message) for part in (old.children[:cut], old.children[cut:])]
    return (*fields[:at], *halves, *fields[at + 1 :])


def _repack(_: Mutator, rng: random.Random, fields: Message, name: str) -> Message:
    """A list of numbers in its other form: one field for all, or one for each."""
    at = rng.randrange(len(fields))
    old, slot = fields[at], SCHEMA[name].get(fields[at].number)
    if slot is None or not slot.is_packable:
        return fields
    if old.wire != BYTES:
        return (*fields[:at], make(old.number, BYTES, payload(old)), *fields[at + 1 :])
    width = {FIXED32: 4, FIXED64: 8}.get(slot.wire)
    content = payload(old)[:4096]
    if width:
        parts = [content[cut : cut + width] for cut in range(0, len(content) - width + 1, width)]
        loose = tuple(make(old.number, slot.wire, part) for part in parts)
    else:
        loose = tuple(make(old.number, VARINT, byte) for byte in content)
    return fields[:at] + loose + fields[at + 1 :]


def _nest(_: Mutator, rng: random.Random, fields: Message, name: str) -> Message:
    """The message inside itself, many times over, through whatever field leads back to it."""
    for number, slot in SCHEMA[name].items():
        if slot.message == name:
            chain = [(number, name)]
            break
    else:
        if name != "GraphProto":
            return fields
        chain = [(6, "GraphProto"), (5, "AttributeProto"), (1, "NodeProto")]
    inner = fields
    for _level in range(rng.choice((1, 2, 10, 33, 34, 49, 50, 51, 99, 101, 400))):
        for number, message in chain:
            inner = (make(number, BYTES, inner, message),)
        if sum(len(field.encoded) for field in inner) > MAX_INPUT_BYTES // 2:
            break
    return fields + inner if rng.random() < 0.5 else inner


_CHANGES: tuple[Change, ...] = (_drop, _drop, _repeat, _swap, _splice, _splice, _splice, _invent, _invent, _revalue,
                                _revalue, _revalue, _rewire, _lie, _pad_tags, _split, _repack, _nest)  # fmt: skip


def _bend(rng: random.Random, data: bytes) -> bytes:
    """A change of bytes that knows nothing of fields."""
    out = bytearray(data or b"\x08")
    at, kind = rng.randrange(len(out)), rng.randrange(7)
    if kind == 0:
        out[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        out[at] = rng.randrange(256)
    elif kind == 2:
        del out[at : at + rng.choice((1, 2, 4, 8, 64))]
    elif kind == 3:
        out[at:at] = rng.randbytes(rng.randint(1, 8))
    elif kind == 4:
        del out[at + 1 :]
    elif kind == 5:
        out[at:at] = rng.choice(TEXTS)
    else:
        other = rng.randrange(len(out))
        out[at:at] = out[other : other + rng.randint(1, 64)]
    return bytes(out)


class Mutator:
    """Makes new inputs out of old ones; the same generator and input give the same result."""

    def __init__(self, seeds: Iterable[bytes], most_donors: int = 400) -> None:
        self.pool: defaultdict[str, list[Field]] = defaultdict(list)
        for seed in seeds:
            for message, field in walk(parse(seed) or ()):
                if len(self.pool[message]) < most_donors and len(field.encoded) <= 4096:
                    self.pool[message].append(field)

    def mutate(self, data: bytes, rng: random.Random) -> bytes:
        """A changed copy of at most `MAX_INPUT_BYTES` bytes."""
        if data.startswith(b"PK") and rng.random() < 0.8:
            data = change_zip(data, rng, _bend) or data
            return data[:MAX_INPUT_BYTES]
        fields = parse(data) if rng.random() < 0.85 else None
        if not fields:
            for _ in range(rng.randint(1, 4)):
                data = _bend(rng, data)
            return data[:MAX_INPUT_BYTES]
        for _ in range(rng.choice((1, 1, 2, 3, 6))):
            fields = self._change(fields, "ModelProto", rng) or fields
        out = join(fields)
        if rng.random() < 0.05:
            out = out[: rng.randrange(len(out) + 1)]
        return out[:MAX_INPUT_BYTES]

    def _change(self, fields: Message, name: str, rng: random.Random) -> Message:
        """Change this message or one below it; those that hold many fields are left for those below more often."""
        inner = [at for at, field in enumerate(fields) if field.children]
        if inner and rng.random() < 0.75:
            at = rng.choice(inner)
            old = fields[at]
            new = self._change(old.children, old.message, rng)
            return (*fields[:at], make(old.number, BYTES, new, old.message), *fields[at + 1 :])
        if not fields:
            return _invent(self, rng, fields, name)
        return rng.choice(_CHANGES)(self, rng, fields, name)
