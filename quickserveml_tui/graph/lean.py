"""Message types that parse only a part of a model: nodes stay bytes.

Parsing 100,000 nodes as `onnx.ModelProto` takes 20 ms and 36 MB; as bytes 3 ms and 7 MB. A field of another type with
the same wire type is what protobuf's own rules for changing a message allow.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import onnx
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_BYTES = "bytes"
_Fields: TypeAlias = dict[str, dict[str, str]]
_MODEL = dict.fromkeys(
    ("ir_version", "producer_name", "producer_version", "doc_string", "opset_import", "metadata_props"), ""
)
_GRAPH = {"node": _BYTES, **dict.fromkeys(("name", "doc_string", "input", "output"), "")}
_OUTLINE: _Fields = {
    "TensorProto": dict.fromkeys(("name", "external_data", "data_location"), ""),
    "SparseTensorProto": {"values": "TensorProto", "indices": "TensorProto"},
    "GraphProto": {**_GRAPH, "initializer": "TensorProto", "sparse_initializer": "SparseTensorProto"},
    "ModelProto": {**_MODEL, "graph": "GraphProto", "functions": _BYTES, "training_info": _BYTES},
}
"""Fields by message: as onnx has them, as bytes, or as a message of this table."""
_SKETCH: _Fields = {
    "GraphProto": {**_GRAPH, "initializer": "", "sparse_initializer": ""},
    "ModelProto": {**_MODEL, "graph": "GraphProto", "functions": "", "training_info": ""},
}


def _add_field(message: Any, package: str, owner: str, name: str, form: str) -> None:
    source = getattr(onnx, owner).DESCRIPTOR.fields_by_name[name]
    label = _FIELD.LABEL_REPEATED if source.is_repeated else _FIELD.LABEL_OPTIONAL
    field = message.field.add(name=name, number=source.number, label=label)
    if form == _BYTES:
        field.type = _FIELD.TYPE_BYTES
    elif form:
        field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{package}.{form}"
    else:
        field.type = source.type
        kind = source.message_type or source.enum_type
        if kind is not None:
            field.type_name = f".{kind.full_name}"


def _build(name: str, messages: _Fields) -> type[Any]:
    source, package = onnx.ModelProto.DESCRIPTOR.file, f"quickserveml.{name}"
    file = descriptor_pb2.FileDescriptorProto(
        name=f"quickserveml/{name}.proto", package=package, dependency=[source.name], syntax="proto2"
    )
    for owner, fields in messages.items():
        message = file.message_type.add(name=owner)
        for field, form in fields.items():
            _add_field(message, package, owner, field, form)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    found: type[Any] = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.ModelProto"))
    return found


ModelOutline: type[Any] = _build("outline", _OUTLINE)
"""What a header needs: nodes, functions and training graphs as bytes, tensors by name and place."""
ModelSketch: type[Any] = _build("sketch", _SKETCH)
"""What totals need: only the nodes of the main graph as bytes."""
