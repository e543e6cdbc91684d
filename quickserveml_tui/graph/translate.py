"""Translate a model to another opset with the onnx package's converter, past the parts that it would lose."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import onnx
import onnx.inliner
import onnx.shape_inference
import onnx.version_converter

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.graph.alike import hide_alike, show_hidden
from quickserveml_tui.graph.operators import STANDARD, standard_opset
from quickserveml_tui.graph.reading import Graph, ModelProto, Tensor, bodies, tensors, text
from quickserveml_tui.graph.restoring import restore
from quickserveml_tui.graph.softmax import lost_softmax

KEPT_BYTES = 1024
"""Weights up to this size go through the converter: its adapters read axes, scales and the like."""
_MARK = "\0kept:"
_NO_ADAPTER = re.compile(r"No Adapter (?:From|To) Version \$?\d+ for (\w{1,80})")
_NO_PREVIOUS = re.compile(r"No Previous Version of (\w{1,80}) exists")
_UNDEFINED = re.compile(r"Input (.{1,200}?) is undefined")
_LOCATION = re.compile(r"^\S+:\d+: \w+: (?:Assertion `.*?` failed: )?", re.DOTALL)
_HINT = "Choose an opset nearer to the model's own with --opset, or export the model again with the wanted one."


def _failed(message: str, said: object = "") -> ModelError:
    return ModelError(message, hint=_HINT, code="convert.failed", detail=safe_text(said, 2_000))


def without_functions(model: ModelProto, opset: int) -> ModelProto:
    """A model of this opset with its functions, converted to it, in place of their calls. Raises as `translated`."""
    try:
        flat = onnx.inliner.inline_local_functions(_typed(model), convert_version=True)
    except Exception as error:  # the binding raises RuntimeError and types of its own
        raise _failed(f"In a function of the model: {_sentence(str(error), opset)}", error) from error
    if flat.functions:
        name = safe_text(text(flat.functions[0].name), 80)
        raise _failed(f"The function “{name}” of the model cannot be put in place of its calls.")
    restore(flat, model)
    return flat


def translated(model: ModelProto, opset: int) -> ModelProto:
    """The model in another opset of `ai.onnx`, its functions as they are.

    The converter has no way back for many operators that only got more data types or options since. Those that it
    names are kept from it. Raises `ModelError` (`convert.failed`) that names the operator in the way.
    """
    if opset < 13 and (lost := lost_softmax(model, _typed(model), opset)):
        raise _failed(
            f"The operator {lost} cannot be converted to opset {opset}: its axis is not known to be the last, "
            "and before opset 13 it means something else."
        )
    if min(standard_opset(model.opset_import), opset) < 21 <= max(standard_opset(model.opset_import), opset) and any(
        text(node.op_type) == "GroupNormalization" and text(node.domain) in STANDARD
        for body in bodies(model)
        for node in (body.nodes if body.function is None else ())
    ):
        raise _failed(
            f"The operator GroupNormalization cannot be converted to opset {opset}: "
            "its scale is one per group before opset 21, and one per channel from there on."
        )
    current, hidden = model, set[str]()
    while True:
        try:
            result = _converted(current, opset)
            break
        except ModelError as error:
            name = _in_the_way(error.detail)
            if not name or name in hidden:
                raise
            current = _typed(model) if current is model else current
            if not hide_alike(current, opset, name):
                raise
            hidden.add(name)
    show_hidden(result)
    restore(result, model)
    result.functions.extend(model.functions)
    result.graph.quantization_annotation.extend(model.graph.quantization_annotation)
    return result


def _in_the_way(said: str) -> str:
    """The operator that the converter names as the one it has no way for; empty where it says something else."""
    match = _NO_PREVIOUS.search(said) or _NO_ADAPTER.search(said)
    return match[1] if match else ""


def _converted(model: ModelProto, opset: int) -> ModelProto:
    try:
        return onnx.version_converter.convert_version(model, opset)
    except Exception as error:  # the binding raises RuntimeError and types of its own
        raise _failed(_sentence(str(error), opset), error) from error


def _typed(model: ModelProto) -> ModelProto:
    """The model with the types of its values, as far as they can be inferred: adapters ask for them."""
    try:
        return onnx.shape_inference.infer_shapes(model)
    except Exception:  # noqa: BLE001 - the binding raises types of its own; then the adapters do with what there is
        return model


def _sentence(said: str, opset: int) -> str:
    """What stands in the way, in one sentence that names the operator."""
    converter = f"onnx {onnx.__version__}"
    if match := _NO_PREVIOUS.search(said):
        return f"The operator {match[1]} cannot be converted to opset {opset}: {converter} knows no way back."
    if match := _NO_ADAPTER.search(said):
        return f"The operator {match[1]} cannot be converted to opset {opset}: {converter} knows no way."
    if match := _UNDEFINED.search(said):
        return f"The model uses the value “{safe_text(match[1], 80)}”, which nothing in it defines."
    reason = safe_text(_LOCATION.sub("", said), 200).strip(" .:")
    return f"{converter} cannot convert the model to opset {opset}: {reason or 'it gave no reason'}."


# ---- weights, by references that the converter carries through -------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """What was taken out of a model, by the reference that stands in its place."""

    data: dict[str, Any] = field(default_factory=dict)
    """Raw data of weights."""
    sparse: dict[str, Any] = field(default_factory=dict)

    def put_back(self, model: ModelProto) -> None:
        """Put all of it where its reference is now."""
        for tensor in tensors(model) if self.data else ():
            data = self.data.get(_key(tensor))
            if data is not None:
                tensor.ClearField("external_data")
                tensor.ClearField("data_location")
                tensor.raw_data = data
        for body in bodies(model) if self.sparse else ():
            if body.graph is not None:
                _swap_sparse(body.graph, self.sparse)


def take_out(model: ModelProto) -> Kept:
    """Take out what the converter would only carry about, large weights, and what it would lose, sparse ones."""
    kept = Kept()
    for body in bodies(model):
        if body.graph is not None and body.graph.sparse_initializer:
            _take_sparse(body.graph, kept.sparse)
    for tensor in tensors(model):
        if len(tensor.raw_data) > KEPT_BYTES and not tensor.external_data:
            key = f"w{len(kept.data)}"
            kept.data[key] = tensor.raw_data
            tensor.ClearField("raw_data")
            _refer(tensor, key)
    return kept


def _refer(tensor: Tensor, key: str) -> None:
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=_MARK + key)


def _key(tensor: Tensor) -> str:
    for entry in tensor.external_data:
        if entry.key == "location" and text(entry.value).startswith(_MARK):
            return text(entry.value).removeprefix(_MARK)
    return ""


def _take_sparse(graph: Graph, taken: dict[str, Any]) -> None:
    for sparse in graph.sparse_initializer:
        key = f"s{len(taken)}"
        taken[key] = onnx.SparseTensorProto.FromString(sparse.SerializeToString())
        values = sparse.values
        _refer(graph.initializer.add(name=values.name, data_type=values.data_type, dims=sparse.dims), key)
    graph.ClearField("sparse_initializer")


def _swap_sparse(graph: Graph, taken: dict[str, Any]) -> None:
    for index in reversed(range(len(graph.initializer))):
        sparse = taken.get(_key(graph.initializer[index]))
        if sparse is not None:
            graph.sparse_initializer.append(sparse)
            del graph.initializer[index]
