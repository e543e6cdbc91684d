"""JSON requests that differ in their numbers only: what surrounds the numbers is read once.

Clients send one form of request over and over. Around the list of numbers its bytes stay the same, so name, datatype,
shape and outputs that were checked once hold for all of them, and the numbers of a whole batch are read with one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import orjson

from quickserveml_tui.wire.datatypes import TensorType
from quickserveml_tui.wire.json_tensors import Array
from quickserveml_tui.wire.oip_documents import float_list
from quickserveml_tui.wire.requests import InferRequest

MAX_BYTES = 256 * 1024
"""Larger bodies gain nothing: their numbers are what costs."""
FEW_VALUES = 256
"""Up to so many, the lists of a batch are read together; longer ones one by one, which is faster from here on."""
_MAX_FORMS = 4
_LEARN_EVERY = 16
"""Bodies of no known form for each that is looked at: where every request is another, learning would be in vain."""
_KINDS = {"FP32": frozenset({int, float}), "INT64": frozenset({int})}


class RequestForm:
    """All but the numbers of a request for a model with one input."""

    __slots__ = (
        "_begin", "_behind", "_dtype", "_row_shape", "_types", "count", "end", "least", "name", "request", "rows",
        "start",
    )  # fmt: skip

    def __init__(self, start: bytes, end: bytes, request: InferRequest, kind: TensorType) -> None:
        """`start` ends with the bracket that opens the list, `end` begins with the one that closes it."""
        (array,) = request.feeds.values()
        self.start, self.end = start, end
        self.least = len(start) + len(end)
        """Bytes that are not numbers."""
        self._begin, self._behind = len(start) - 1, len(end) - 1
        self.name = kind.name
        self.request = InferRequest({}, request.plan, request.id, request.priority, request.timeout_us)
        """What all requests of the form ask for; without arrays."""
        self.count: int = array.size
        """Numbers of each request."""
        self.rows: int = array.shape[0]
        self._row_shape: tuple[int, ...] = array.shape[1:]
        self._dtype = array.dtype
        self._types = _KINDS[kind.datatype]

    def text(self, body: bytes) -> bytes:
        """The list of numbers in a body of this form, with its brackets."""
        return body[self._begin : len(body) - self._behind]

    def body(self, text: bytes) -> bytes:
        """The body with this list of numbers."""
        return self.start[: self._begin] + text + self.end[1:]

    def feeds(self, texts: Sequence[bytes]) -> dict[str, Array] | None:
        """The input of requests in one run, shape (rows of all, …), from their lists of numbers.

        None where one of them is not just `count` numbers in the dtype's range: then each must be read for itself.
        """
        if self.count > FEW_VALUES:
            return self._long_lists(texts)
        joined = b"[%b]" % b",".join(texts)
        if joined.count(b"[") != len(texts) + 1:  # else the lists of one could take in those of others
            return None
        try:
            rows: list[Any] = orjson.loads(joined)
            if not self._types.issuperset(map(type, chain.from_iterable(rows))):
                return None
            with np.errstate(over="ignore"):  # what overflows is found below
                array = np.array(rows, dtype=self._dtype)
        except (ValueError, TypeError, OverflowError):  # no JSON, lists of unequal length, numbers out of range
            return None
        if array.shape != (len(texts), self.count) or (array.dtype.kind == "f" and not np.isfinite(array).all()):
            return None
        return self._shaped(array)

    def _long_lists(self, texts: Sequence[bytes]) -> dict[str, Array] | None:
        array = np.empty((len(texts), self.count), dtype=self._dtype)
        with np.errstate(over="ignore"):  # what overflows is found below
            for row, text in zip(array, texts, strict=True):
                numbers = float_list(text) if text.find(b"[", 1) < 0 else None
                if numbers is None or numbers.size != self.count:
                    return None
                row[:] = numbers
        return self._shaped(array) if np.isfinite(array).all() else None

    def _shaped(self, array: Array) -> dict[str, Array]:
        return {self.name: array.reshape(len(array) * self.rows, *self._row_shape)}


class RequestForms:
    """The forms that the requests for one model have taken of late."""

    __slots__ = ("_forms", "_kind", "_missed")

    def __init__(self, inputs: Sequence[TensorType]) -> None:
        self._kind = inputs[0] if len(inputs) == 1 and inputs[0].datatype in _KINDS else None
        self._forms: list[RequestForm] = []
        self._missed = -1

    def find(self, body: bytes) -> RequestForm | None:
        """The form of a body, if it has a known one."""
        for form in self._forms:
            if body.startswith(form.start) and body.endswith(form.end) and len(body) > form.least:
                return form
        return None

    def learn(self, body: bytes, request: InferRequest) -> None:
        """Take note of a body that was read as `request`, so that the next ones of its form are found."""
        kind = self._kind
        if kind is None or len(body) > MAX_BYTES:
            return
        self._missed += 1
        if self._missed % _LEARN_EVERY:
            return
        array = request.feeds[kind.name]
        few = array.size <= FEW_VALUES or kind.datatype == "FP32"
        if array.ndim and array.size and few:
            parts = _around_numbers(body)
            if parts is not None:
                self._forms = [RequestForm(*parts, request, kind), *self._forms[: _MAX_FORMS - 1]]


def _around_numbers(body: bytes) -> tuple[bytes, bytes] | None:
    """What stands before and after the numbers of the only input, brackets included; None where it cannot be told."""
    begin = body.find(b"[", body.find(b'"data"')) + 1
    last = body.find(b"]", begin)
    if begin < 1 or last < 0:
        return None
    start, end = body[:begin], body[last:]
    document = orjson.loads(body)
    try:
        probe = orjson.loads(b"%b7%b" % (start, end))
        data = document["inputs"][0].pop("data")
        # The same document but for this one list: so the list is the data, and not part of a text or another member.
        same = probe["inputs"][0].pop("data") == [7] and probe == document
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return None
    flat = type(data) is list and not any(type(item) is list for item in data)
    return (start, end) if same and flat else None
