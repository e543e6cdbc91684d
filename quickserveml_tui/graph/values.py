"""A model's inputs and outputs, and the texts that it carries."""

from __future__ import annotations

from itertools import islice
from typing import Any

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.graph.reading import ModelProto, text
from quickserveml_tui.graph.scopes import value_type
from quickserveml_tui.graph.tensors import dtype_name

MAX_VALUES = 20_000
MAX_NAME_CHARS = 10_000
MAX_METADATA = 256
MAX_OPSETS = 256
MAX_TEXT_CHARS = 4_096


def clip(value: str) -> str:
    """At most `MAX_TEXT_CHARS` characters of a text."""
    return value if len(value) <= MAX_TEXT_CHARS else value[: MAX_TEXT_CHARS - 1] + "…"


def read_texts(model: ModelProto) -> dict[str, Any]:
    """Opsets, producer, graph name, metadata and description, by the names of their fields in `ModelFacts`.

    Texts are clipped, but not cleaned.
    """
    return {
        "opsets": {text(item.domain) or "ai.onnx": item.version for item in islice(model.opset_import, MAX_OPSETS)},
        "producer": clip(f"{text(model.producer_name)} {text(model.producer_version)}".strip()),
        "graph_name": clip(text(model.graph.name)),
        "metadata": {
            clip(text(item.key)): clip(text(item.value)) for item in islice(model.metadata_props, MAX_METADATA)
        },
        "doc": clip(text(model.doc_string) or text(model.graph.doc_string)),
    }


def read_signature(model: ModelProto) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs. Raises `ModelError` (`model.too_large`) for more, or longer names, than can be handled."""
    inputs, outputs = _inputs(model), tuple(_spec(info) for info in model.graph.output)
    _check_values(inputs, outputs)
    return inputs, outputs


def _inputs(model: ModelProto) -> tuple[TensorSpec, ...]:
    """Inputs that a caller must give: models before IR 4 list their initializers as well."""
    weights = {text(tensor.name) for tensor in model.graph.initializer}
    weights |= {text(sparse.values.name) for sparse in model.graph.sparse_initializer}
    return tuple(_spec(info) for info in model.graph.input if text(info.name) not in weights)


_KINDS = {"tensor_type": "tensor", "sparse_tensor_type": "sparse", "sequence_type": "sequence", "map_type": "map",
          "optional_type": "optional"}  # fmt: skip


def _spec(info: Any) -> TensorSpec:
    kind = _KINDS.get(info.type.WhichOneof("value") or "", "tensor")
    if kind == "tensor":
        found = value_type(info.type)
        dtype = "undefined" if found.dtype == "unknown" else found.dtype
        return TensorSpec(text(info.name), dtype, found.shape)
    return TensorSpec(text(info.name), type_string(info.type), value_type(info.type).shape, kind)


def type_string(proto: Any, depth: int = 0) -> str:
    """A type as the runtime writes it: `tensor(float32)`, `seq(map(int64,tensor(float32)))`."""
    kind = proto.WhichOneof("value")
    if depth > 16:
        return "…"
    if kind in ("tensor_type", "sparse_tensor_type"):
        word = "tensor" if kind == "tensor_type" else "sparse_tensor"
        return f"{word}({dtype_name(getattr(proto, kind).elem_type)})"
    if kind == "sequence_type":
        return f"seq({type_string(proto.sequence_type.elem_type, depth + 1)})"
    if kind == "map_type":
        key = dtype_name(proto.map_type.key_type)
        return f"map({key},{type_string(proto.map_type.value_type, depth + 1)})"
    if kind == "optional_type":
        return f"optional({type_string(proto.optional_type.elem_type, depth + 1)})"
    return "unknown"


def _check_values(inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
    for what, specs in (("inputs", inputs), ("outputs", outputs)):
        if len(specs) > MAX_VALUES:
            raise ModelError(
                f"The model has {len(specs):,} {what}; up to {MAX_VALUES:,} can be handled.",
                hint="Join them before the export.",
                code="model.too_large",
            )
        longest = max((spec.name for spec in specs), key=len, default="")
        if len(longest) > MAX_NAME_CHARS:
            raise ModelError(
                f"The model has {what} with names of {len(longest):,} characters (“{safe_text(longest, 40)}”).",
                hint="Rename them before the export.",
                code="model.too_large",
            )
