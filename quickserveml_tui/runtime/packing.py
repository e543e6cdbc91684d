"""How values cross the pipe between a runner and its parent: every kind of `core.values`, unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.values import SparseValue

if TYPE_CHECKING:
    import numpy as np

MAX_DEPTH = 128
"""Deeper nesting is refused: no model takes it, and it would exhaust the stack."""


def pack(value: Any) -> Any:
    """A value that msgpack can carry, from arrays, sparse tensors, lists, dicts, None and scalars, however nested.

    An array becomes `{"a": [dtype, shape, bytes]}` (strings: a list of str), a list `{"l": […]}`, a dict `{"m": [[key,
    value], …]}`, a `SparseValue` `{"sp": [values, indices, shape]}`; dtypes go by their ONNX names, elements of 4 and 2
    bits take a byte each. Raises `DataError` for values of no ONNX type and for nesting beyond `MAX_DEPTH`.
    """
    return _pack(value, MAX_DEPTH)


def _pack(value: Any, depth: int) -> Any:
    import numpy as np

    if depth == 0:
        raise DataError(
            f"The values are nested more than {MAX_DEPTH} deep.", hint="Check the brackets.", code="data.too_deep"
        )
    if isinstance(value, np.ndarray):
        return {"a": _pack_array(value)}
    if isinstance(value, np.generic):
        array = np.asarray(value)
        return {"g": _pack_array(array)} if array.dtype.kind not in "OUST" else _pack(value.item(), depth - 1)
    if isinstance(value, SparseValue):
        return {"sp": [_pack_array(value.values), _pack_array(value.indices), list(value.shape)]}
    if isinstance(value, Mapping):
        return {"m": [[_pack(key, depth - 1), _pack(item, depth - 1)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"l": [_pack(item, depth - 1) for item in value]}
    return _pack_scalar(value)


def _pack_scalar(value: Any) -> Any:
    """A plain value; what msgpack lacks (surrogates, integers beyond 64 bits, complex numbers) is marked."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return {"u": value.encode("utf-8", "surrogatepass")}
        return value
    if isinstance(value, complex):
        return {"c": [value.real, value.imag]}
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return {"i": hex(value)}
    if value is None or isinstance(value, bool | int | float | bytes):
        return value
    raise DataError(
        f"A value of the Python type {type(value).__name__} is no input of a model.",
        hint="Give arrays, numbers, strings, lists and dicts.",
        code="data.dtype",
    )


def _pack_array(array: np.ndarray[Any, Any]) -> list[Any]:
    import numpy as np

    from quickserveml_tui.runtime.dtypes import numpy_dtype, onnx_name

    name = onnx_name(array.dtype)
    if name == "string":
        return [name, list(array.shape), [_pack_scalar(item) for item in array.ravel().tolist()]]
    try:
        dtype = numpy_dtype(name)
    except Exception as error:
        raise DataError(
            f"Values of the numpy type {array.dtype.name} are no input of a model.",
            hint="Convert them to numbers, booleans or strings.",
            code="data.dtype",
        ) from error
    return [name, list(array.shape), np.ascontiguousarray(array, dtype=dtype).tobytes()]


def unpack(value: Any) -> Any:
    """The inverse of `pack`. Arrays own their data and are writable."""
    if not isinstance(value, dict):
        return value
    ((kind, body),) = value.items()
    return _UNPACKERS[kind](body)


def _unpack_array(body: list[Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    from quickserveml_tui.runtime.dtypes import numpy_dtype

    name, shape, data = body
    if name == "string":
        array = np.empty(len(data), dtype=object)
        array[:] = [unpack(item) for item in data]
        return array.reshape(shape)
    return np.frombuffer(data, dtype=numpy_dtype(name)).reshape(shape).copy()


def _unpack_sparse(body: list[Any]) -> SparseValue:
    values, indices, shape = body
    return SparseValue(_unpack_array(values), _unpack_array(indices), tuple(shape))


_UNPACKERS: dict[str, Any] = {
    "a": _unpack_array,
    "g": lambda body: _unpack_array(body)[()],
    "sp": _unpack_sparse,
    "m": lambda body: {unpack(key): unpack(item) for key, item in body},
    "l": lambda body: [unpack(item) for item in body],
    "u": lambda body: body.decode("utf-8", "surrogatepass"),
    "c": lambda body: complex(*body),
    "i": lambda body: int(body, 16),
}
