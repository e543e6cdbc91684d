"""Inference by protobuf messages: requests as the documents that all forms share, answers with raw or typed tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.wire.binary_tensors import array_to_bytes
from quickserveml_tui.wire.datatypes import TensorType
from quickserveml_tui.wire.grpc_messages import message_class
from quickserveml_tui.wire.json_tensors import Array, bad_input
from quickserveml_tui.wire.oip_request import RequestDecoder
from quickserveml_tui.wire.requests import InferRequest, OutputPlan

_FIELDS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Where the typed form carries a datatype; FP16 and BF16 have the raw form only."""


def parameters(found: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a message as plain values."""
    plain: dict[str, Any] = {}
    for key, value in found.items():
        chosen = value.WhichOneof("parameter_choice")
        plain[key] = getattr(value, chosen) if chosen else None
    return plain


def read_request(decoder: RequestDecoder, message: Any, remaining_s: float | None = None) -> InferRequest:
    """The request in a `ModelInferRequest`, whose caller waits `remaining_s` at most. Raises `DataError`."""
    raws: Sequence[bytes] = message.raw_input_contents
    inputs = message.inputs
    if raws and len(raws) != len(inputs):
        raise DataError(
            f"The request has {len(inputs)} inputs and {len(raws)} raw_input_contents.",
            hint="Send the raw contents of every input, in the order of the inputs, or of none.",
            code="request.invalid",
        )
    items = [_raw_input(item, raws[index]) if raws else _typed_input(item) for index, item in enumerate(inputs)]
    outputs = [{"name": item.name, "parameters": parameters(item.parameters)} for item in message.outputs]
    given = parameters(message.parameters)
    # Raw answers to raw requests, typed ones to typed requests, unless the request says otherwise.
    given.setdefault("binary_data_output", bool(raws))
    _limit_wait(given, remaining_s)
    document = {"id": message.id, "parameters": given, "inputs": items, "outputs": outputs}
    binary = raws[0] if len(raws) == 1 else b"".join(raws)
    return decoder.decode_document(document, memoryview(binary))


def _limit_wait(given: dict[str, Any], remaining_s: float | None) -> None:
    """The deadline of the call bounds the wait where the request asks for no shorter one (microseconds)."""
    asked = given.get("timeout")
    if remaining_s is None or not (asked is None or type(asked) is int):
        return
    left = max(int(remaining_s * 1e6), 1)
    if not asked or asked > left:
        given["timeout"] = left


def _named(item: Any) -> dict[str, Any]:
    return {"name": item.name, "datatype": item.datatype, "shape": list(item.shape)}


def _raw_input(item: Any, raw: bytes) -> dict[str, Any]:
    if item.HasField("contents"):
        raise bad_input(item.name, "has both contents and raw_input_contents", "request.invalid")
    return _named(item) | {"parameters": parameters(item.parameters) | {"binary_data_size": len(raw)}}


def _typed_input(item: Any) -> dict[str, Any]:
    given = parameters(item.parameters)
    if "shared_memory_region" in given:
        raise bad_input(item.name, "refers to shared memory, which this server does not offer", "data.unsupported")
    wanted = _FIELDS.get(item.datatype)
    if wanted is None and item.datatype in ("FP16", "BF16"):
        raise bad_input(item.name, f"has the type {item.datatype}, which only raw_input_contents carry", "data.dtype")
    for field, _ in item.contents.ListFields():
        if field.name != wanted:
            datatype = safe_text(item.datatype, 40)
            raise bad_input(item.name, f"has {field.name}, {datatype} belongs into {wanted}", "data.dtype")
    values = list(getattr(item.contents, wanted)) if wanted else []
    if wanted == "bytes_contents":
        values = [_text(value, item.name) for value in values]
    if not item.shape and len(values) == 1:
        return _named(item) | {"data": values[0], "parameters": given}
    return _named(item) | {"data": values, "parameters": given}


def _text(raw: bytes, name: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise bad_input(name, "holds a string that is not UTF-8", "data.encoding") from error


class GrpcEncoder:
    """Writes `ModelInferResponse` of one version of a model."""

    def __init__(self, name: str, version: str, outputs: Sequence[TensorType]) -> None:
        self._name = name
        self._version = version
        self._types = {kind.name: kind for kind in outputs}
        self._class = message_class("ModelInferResponse")

    def encode(self, plan: OutputPlan, request_id: str, arrays: Sequence[Array]) -> bytes:
        """The message as bytes; `arrays` come in the order of the plan.

        All outputs are raw if one of them is to be, or has no typed form: the message cannot mix the two.
        """
        answer = self._class(model_name=self._name, model_version=self._version, id=request_id)
        kinds = [self._types[name] for name in plan.names]
        raw = plan.any_binary or any(kind.datatype not in _FIELDS for kind in kinds)
        for kind, array in zip(kinds, arrays, strict=True):
            output = answer.outputs.add(name=kind.name, datatype=kind.datatype, shape=array.shape)
            if raw:
                answer.raw_output_contents.append(bytes(array_to_bytes(array, kind.datatype)))
            else:
                _write_typed(output.contents, kind.datatype, array)
        encoded: bytes = answer.SerializeToString()
        return encoded


def _write_typed(contents: Any, datatype: str, array: Array) -> None:
    values = array.reshape(-1).tolist()
    if datatype == "BYTES":
        values = [item if isinstance(item, bytes) else str(item).encode("utf-8", "surrogateescape") for item in values]
    getattr(contents, _FIELDS[datatype]).extend(values)


_FINAL_WISH = "triton_enable_empty_final_response"
_FINAL = "triton_final_response"
_STREAM_FIELD = b"\x12"  # field 2, length-delimited: `infer_response`


def wants_final(message: Any) -> bool:
    """Whether a `ModelInferRequest` asks to be told which answer of a stream is its last."""
    return _FINAL_WISH in message.parameters and message.parameters[_FINAL_WISH].bool_param


@cache
def _final() -> bytes:
    """The parameter that says so, for the end of an encoded response: fields of messages may come in any order."""
    answer = message_class("ModelInferResponse")()
    answer.parameters[_FINAL].bool_param = True
    encoded: bytes = answer.SerializeToString()
    return encoded


def stream_response(response: bytes, *, final: bool = False) -> bytes:
    """A `ModelStreamInferResponse` around an encoded `ModelInferResponse`, marked as the last one of its request."""
    mark = _final() if final else b""
    return b"".join((_STREAM_FIELD, _varint(len(response) + len(mark)), response, mark))


def stream_error(text: str, request_id: str, *, final: bool = False) -> bytes:
    """A `ModelStreamInferResponse` with an error, which names the request in its otherwise empty response."""
    answer = message_class("ModelStreamInferResponse")(error_message=text)
    if request_id:
        answer.infer_response.id = request_id
    if final:
        answer.infer_response.parameters[_FINAL].bool_param = True
    encoded: bytes = answer.SerializeToString()
    return encoded


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
