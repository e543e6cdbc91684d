"""Nodes that can stand in another opset as they are, although their operator has another version there."""

from __future__ import annotations

from typing import Any, TypeAlias

import onnx

from quickserveml_tui.graph.operators import STANDARD, schema, standard_opset
from quickserveml_tui.graph.reading import ModelProto, Node, bodies, subgraphs, text

HIDDEN = "quickserveml.alike"
"""Domain of nodes that are kept from the converter."""

MEANS_OTHERWISE = {
    **dict.fromkeys(("PRelu", "Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less"), 7),
    **dict.fromkeys(("Max", "Min", "Sum", "Mean"), 8), "Gemm": 7, "BatchNormalization": 9, "Upsample": 10,
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), 13), "RoiAlign": 16, "GroupNormalization": 21,
}  # fmt: skip
"""Operators that mean something else from this opset on, although inputs and attributes may look the same."""

_Names: TypeAlias = frozenset[tuple[str, str]]
"""Domain and name of a model's own functions."""


def hide_alike(model: ModelProto, opset: int, op: str) -> bool:
    """Move nodes of one operator that can stay as they are to a domain that the converter leaves alone.

    Attributes that the other opset lacks are taken away: they have their default value. Returns whether there were any.
    """
    before, own, count = standard_opset(model.opset_import), _own(model), 0
    for body in bodies(model):
        for node in body.nodes if body.function is None else ():
            if text(node.op_type) == op and _is_standard(node, own) and _can_stay(node, before, opset, own):
                _strip(node, opset)
                node.domain = HIDDEN
                count += 1
    if count and all(text(entry.domain) != HIDDEN for entry in model.opset_import):
        model.opset_import.add(domain=HIDDEN, version=1)
    return count > 0


def show_hidden(model: ModelProto) -> None:
    """The reverse of `hide_alike`."""
    for body in bodies(model):
        for node in body.nodes:
            if text(node.domain) == HIDDEN:
                node.domain = ""
    for index in reversed(range(len(model.opset_import))):
        if text(model.opset_import[index].domain) == HIDDEN:
            del model.opset_import[index]


def keep_functions(model: ModelProto, opset: int) -> bool:
    """Whether all nodes of the functions can stay as they are; if so, attributes that the other opset lacks go."""
    own = _own(model)
    found = [
        (node, standard_opset(body.function.opset_import))
        for body in bodies(model)
        if body.function is not None
        for node in body.nodes
        if _is_standard(node, own)
    ]
    if not all(_can_stay(node, before, opset, own) for node, before in found):
        return False
    for node, _before in found:
        _strip(node, opset)
    return True


def _own(model: ModelProto) -> _Names:
    return frozenset((text(function.domain), text(function.name)) for function in model.functions)


def _is_standard(node: Node, own: _Names) -> bool:
    return text(node.domain) in STANDARD and (text(node.domain), text(node.op_type)) not in own


def _can_stay(node: Node, before: int, opset: int, own: _Names) -> bool:
    """Whether the node fits its operator in the other opset, as far as inputs and attributes say, with all below it."""
    changed = MEANS_OTHERWISE.get(text(node.op_type), 0)
    if min(before, opset) < changed <= max(before, opset):
        return False
    old, new = schema(text(node.op_type), before), schema(text(node.op_type), opset)
    if old is None or new is None or new.deprecated:
        return False
    is_alike = _sides_fit(node.input, old.inputs, new.inputs) and _sides_fit(node.output, old.outputs, new.outputs)
    return (
        is_alike
        and _attributes_fit(node, old, new)
        and all(
            _can_stay(inner, before, opset, own)
            for _name, graph in subgraphs(node)
            for inner in graph.node
            if _is_standard(inner, own)
        )
    )


def _sides_fit(used: Any, old: Any, new: Any) -> bool:
    """Whether inputs or outputs of both opsets are alike, and those of one only are left out."""
    common = min(len(old), len(new))
    forms = [[(item.option, item.min_arity, item.is_homogeneous) for item in side[:common]] for side in (old, new)]
    is_variadic = common > 0 and new[common - 1].option == onnx.defs.OpSchema.FormalParameterOption.Variadic
    return (
        forms[0] == forms[1]
        and (is_variadic or len(used) <= common)
        and all(item.option == onnx.defs.OpSchema.FormalParameterOption.Optional for item in new[common:])
    )


def _attributes_fit(node: Node, old: Any, new: Any) -> bool:
    """Whether attributes of both opsets are alike, and those of one only have their default value."""
    both = sorted(old.attributes.keys() & new.attributes.keys())
    forms = [[_form(side.attributes[name]) for name in both] for side in (old, new)]
    is_needed = any(item.required for name, item in new.attributes.items() if name not in both)
    lost = (item for item in node.attribute if text(item.name) not in new.attributes)
    return forms[0] == forms[1] and not is_needed and all(_is_default(item, old.attributes) for item in lost)


def _form(declared: Any) -> tuple[Any, bool, bytes]:
    return declared.type, declared.required, declared.default_value.SerializeToString(deterministic=True)


def _is_default(attribute: Any, declared: Any) -> bool:
    found = declared.get(text(attribute.name))
    if found is None or not found.default_value.type or found.default_value.type != attribute.type:
        return False
    default = onnx.helper.get_attribute_value(found.default_value)
    return bool(onnx.helper.get_attribute_value(attribute) == default)


def _strip(node: Node, opset: int) -> None:
    """Take away attributes that the other opset lacks, below the node too."""
    declared = schema(text(node.op_type), opset)
    if declared is not None and text(node.domain) in STANDARD:
        for index in reversed(range(len(node.attribute))):
            if text(node.attribute[index].name) not in declared.attributes:
                del node.attribute[index]
    for _name, graph in subgraphs(node):
        for inner in graph.node:
            _strip(inner, opset)
