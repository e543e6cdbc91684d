"""What shape inference gets instead of operators that it does not know, or that end its process."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import onnx

from quickserveml_tui.graph.reading import Body, ModelProto, Node, bodies

_TENSOR = onnx.TensorProto
_ONNX, _ML = ("", "ai.onnx"), ("ai.onnx.ml",)
_SAME_SHAPE_FLOAT = {"Scaler", "Imputer", "Normalizer", "Binarizer"}
_LABEL_TYPES = {"values_strings": _TENSOR.STRING, "values_int64s": _TENSOR.INT64, "values_floats": _TENSOR.FLOAT}
_TERM = rb"[A-Za-z]*(?:\.\.\.)?[A-Za-z]*"
_EQUATION = re.compile(rb"%b(?:,%b)*(?:->%b)?" % (_TERM, _TERM, _TERM))
_NEEDS_TYPE = {"LabelEncoder", "DictVectorizer", "TreeEnsemble"}
_LEFT_OUT = "NotInferred"
"""No operator has this name: inference passes over it, and over what needs its result."""


def stand_in_for_uninferred(skeleton: ModelProto) -> ModelProto:
    """Replace, in place, operators that onnx cannot infer by others with the same result type; returns the model.

    The ai.onnx.ml operators that begin most scikit-learn pipelines have no inference: without this all shapes behind
    them are unknown. Others end the process (SIGSEGV, SIGABRT) when their input has no type, as behind an operator of
    another domain, or when `Split` has more outputs than it says; and an `Einsum` whose equation has any odd character
    never ends. All seen with onnx 1.23.
    """
    for body in bodies(skeleton):
        typed: set[str | bytes] | None = None
        for node in body.nodes:
            op = node.op_type
            if op not in _MET:  # all but a few of what may be 100,000 nodes
                continue
            if op in _SAME_SHAPE_FLOAT and node.domain in _ML and len(node.input) == 1:
                _cast(node, _TENSOR.FLOAT)
            elif (to := _result_type(node)) is not None:
                _cast(node, to)
            elif op in _NEEDS_TYPE and node.domain in _ML:
                typed = _declared(body) if typed is None else typed
                if not node.input or node.input[0] not in typed:
                    _leave_out(node)
            elif op in _CHECKS and node.domain in _ONNX and not _CHECKS[op](node):
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


def _has_its_outputs(split: Node) -> bool:
    says = [attribute.i for attribute in split.attribute if attribute.name == "num_outputs"]
    return all(count == len(split.output) for count in says)


def _has_equation(einsum: Node) -> bool:
    equations = [attribute.s for attribute in einsum.attribute if attribute.name == "equation"]
    return all(_EQUATION.fullmatch(equation.replace(b" ", b"")) for equation in equations)


_CHECKS: dict[str, Callable[[Node], bool]] = {"Split": _has_its_outputs, "Einsum": _has_equation}
_MET = _SAME_SHAPE_FLOAT | _NEEDS_TYPE | _CHECKS.keys() | {"RegexFullMatch", "EyeLike"}
