"""The other side of the Open Inference Protocol v2: requests that are written and answers that are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.wire.binary_tensors import array_from_bytes, array_to_bytes
from quickserveml_tui.wire.datatypes import DATATYPE_BY_ONNX, MAX_RANK, TensorType, numpy_dtype
from quickserveml_tui.wire.json_tensors import Array, shaped
from quickserveml_tui.wire.oip_documents import values
from quickserveml_tui.wire.oip_response import json_values, require_finite

_DATATYPES = frozenset(DATATYPE_BY_ONNX.values())
_MAX_TENSORS = 10_000


def encode_request(
    inputs: Sequence[TensorType], arrays: Mapping[str, Array], *, binary: bool = True
) -> tuple[bytes, int | None]:
    """Body of a request and, where it has a binary part, the length of its JSON part.

    `arrays` hold one C-contiguous array of the tensor's dtype for each input. With `binary` the outputs are asked for
    as binary data too. Raises `DataError` for what JSON cannot carry: BF16, NaN and infinities.
    """
    tensors: list[bytes] = []
    raws: list[bytes | memoryview] = []
    if not binary:
        require_finite([kind.name for kind in inputs], [arrays[kind.name] for kind in inputs], "Check the inputs.")
    for kind in inputs:
        array = arrays[kind.name]
        head = orjson.dumps({"name": kind.name, "datatype": kind.datatype, "shape": list(array.shape)})[:-1]
        if binary:
            raw = array_to_bytes(array, kind.datatype)
            raws.append(raw)
            tensors.append(b'%b,"parameters":{"binary_data_size":%d}}' % (head, len(raw)))
        else:
            tensors.append(b'%b,"data":%b}' % (head, json_values(array.reshape(-1), kind)))
    asked = b',"parameters":{"binary_data_output":true}' if binary else b""
    header = b'{"inputs":[%b]%b}' % (b",".join(tensors), asked)
    return b"".join((header, *raws)), len(header) if binary else None


def decode_response(body: bytes, header_length: int | None = None) -> dict[str, tuple[TensorType, Array]]:
    """Type and array of each output by name, from an answer with or without a binary part.

    Strings are `str` objects. Raises `DataError` for anything that is no answer by the protocol.
    """
    binary = memoryview(b"")
    header = body
    if header_length is not None:
        if not 0 < header_length <= len(body):
            raise _bad("its JSON part is longer than the answer")
        header, binary = body[:header_length], memoryview(body)[header_length:]
    outputs = _outputs(header)
    found: dict[str, tuple[TensorType, Array]] = {}
    offset = 0
    for item in outputs:
        kind, shape = _tensor(item)
        if kind.name in found:
            raise _bad(f"the output “{safe_text(kind.name, 80)}” comes twice")
        data = item.get("data")
        if data is None:
            size = _size(item, len(binary) - offset)
            found[kind.name] = kind, array_from_bytes(binary[offset : offset + size], shape, kind)
            offset += size
        else:
            found[kind.name] = kind, shaped(values(data, kind), shape, kind)
    if offset != len(binary):
        raise _bad("it is longer than its outputs")
    return found


def _outputs(header: bytes) -> list[Any]:
    try:
        document = orjson.loads(header)
    except orjson.JSONDecodeError as error:
        raise _bad("it is not valid JSON") from error
    outputs = document.get("outputs") if isinstance(document, dict) else None
    if not isinstance(outputs, list) or len(outputs) > _MAX_TENSORS:
        raise _bad("it has no list of outputs")
    return outputs


def _bad(problem: str) -> DataError:
    return DataError(
        f"The answer cannot be read: {problem}.",
        hint="See the Open Inference Protocol v2 for the form of an answer.",
        code="response.invalid",
    )


def _tensor(item: Any) -> tuple[TensorType, tuple[int, ...]]:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise _bad("an output has no name")
    name, datatype, dims = item["name"], item.get("datatype"), item.get("shape")
    if not isinstance(datatype, str) or datatype not in _DATATYPES:
        raise _bad(f"output “{safe_text(name, 80)}” has the datatype {safe_text(datatype, 40)}")
    if (
        not isinstance(dims, list)
        or len(dims) > MAX_RANK
        or not all(type(dim) is int and 0 <= dim < 2**63 for dim in dims)
    ):
        raise _bad(f"output “{safe_text(name, 80)}” has no shape")
    return TensorType(name, datatype, numpy_dtype(datatype), None), tuple(dims)


def _size(item: dict[str, Any], left: int) -> int:
    parameters = item.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if type(size) is not int or not 0 <= size <= left:
        raise _bad(f"output “{safe_text(item['name'], 80)}” has no data")
    return size
