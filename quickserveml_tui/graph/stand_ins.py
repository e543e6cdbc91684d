"""What shape inference gets instead of operators that it does not know, or that end its process."""

from __future__ import annotations

from typing import Any

import onnx

from quickserveml_tui.graph.reading import Body, ModelProto, Node, bodies

_TENSOR = onnx.TensorProto
_ONNX, _ML = ("", "ai.onnx"), ("ai.onnx.ml",)
_SAME_SHAPE_FLOAT = {"Scaler", "Imputer", "Normalizer", "Binarizer"}
_LABEL_TYPES = {"values_strings": _TENSOR.STRING, "values_int64s": _TENSOR.INT64, "values_floats": _TENSOR.FLOAT}
_NEEDS_TYPE = {"LabelEncoder", "DictVectorizer", "TreeEnsemble"}
_LEFT_OUT = "NotInferred"
"""No operator has this name: inference passes over it, and over what needs its result."""


def stand_in_for_uninferred(skeleton: ModelProto) -> ModelProto:
    """Replace, in place, operators that onnx cannot infer by others with the same result type; returns the model.

    The ai.onnx.ml operators that begin most scikit-learn pipelines have no inference: without this all shapes behind
    them are unknown. Others take the process down (SIGSEGV, SIGABRT; onnx 1.19 to 1.23) when their input has no type,
    as behind an operator of another domain, or when `Split` has more outputs than it says.
    """
    for body in bodies(skeleton):
        typed: set[str | bytes] | None = None
        for node in body.nodes:
            if node.op_type in _SAME_SHAPE_FLOAT and node.domain in _ML and len(node.input) == 1:
                _cast(node, _TENSOR.FLOAT)
            elif (to := _result_type(node)) is not None:
                _cast(node, to)
            elif node.op_type in _NEEDS_TYPE and node.domain in _ML:
                typed = _declared(body) if typed is None else typed
                if not node.input or node.input[0] not in typed:
                    _leave_out(node)
            elif node.op_type == "Split" and node.domain in _ONNX and _says_other_count(node):
                _leave_out(node)
    return skeleton


def _cast(node: Node, to: int) -> None:
    if not node.input or not node.input[0]:
        _leave_out(node)
        return
    node.op_type, node.domain = "Cast", ""
    del node.input[1:]
    del node.output[1:]
    del node.attribute[:]
    node.attribute.append(onnx.helper.make_attribute("to", to))


def _leave_out(node: Node) -> None:
    node.op_type = _LEFT_OUT
    del node.attribute[:]


def _result_type(node: Node) -> int | None:
    """Element type of an operator that keeps the shape of its input; None for any other."""
    if node.op_type == "RegexFullMatch" and node.domain in _ONNX:
        return int(_TENSOR.BOOL)
    if node.op_type == "EyeLike" and node.domain in _ONNX:
        return next((attribute.i for attribute in node.attribute if attribute.name == "dtype"), None)
    if node.op_type == "LabelEncoder" and node.domain in _ML:
        for attribute in node.attribute:
            if attribute.name in _LABEL_TYPES:
                return int(_LABEL_TYPES[attribute.name])
            if attribute.name == "values_tensor":
                return int(attribute.t.data_type)
    return None


def _declared(body: Body) -> set[str | bytes]:
    """Names that surely have a type: those that the main graph declares with one."""
    if body.depth or body.function is not None or body.graph is None:
        return set()
    infos: tuple[Any, ...] = (*body.graph.input, *body.graph.value_info)
    return {info.name for info in infos if info.type.WhichOneof("value")}


def _says_other_count(node: Node) -> bool:
    return any(attribute.name == "num_outputs" and attribute.i != len(node.output) for attribute in node.attribute)
