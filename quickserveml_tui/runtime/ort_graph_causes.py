"""Why a graph does not load: operators, attributes, types, shapes and names of its nodes."""

from __future__ import annotations

import re

from quickserveml_tui.core.text import plural
from quickserveml_tui.runtime.ort_causes import EXPORT_AGAIN, Cause, cause, domain_of, dtype, name, reason
from quickserveml_tui.runtime.ort_text import Said

_OP_HINT = "Export the model with standard operators, or with an opset that has this one."
_NODE_HINT = "The opset of the model and its nodes do not go together; export it again, or with another opset."
_SHAPE_HINT = "Export the model again, or without fixed shapes."
_MANY = 2**31 - 1


def _unknown_op(match: re.Match[str], _said: Said, runtime: str) -> str:
    domain = match["domain"]
    shown = name(f"{domain}:{match['op']}" if domain not in ("", "ai.onnx") else match["op"])
    version = f" in opset {match['version']}" if match.groupdict().get("version") else ""
    return f"The operator {shown} is unknown to {runtime}{version}."


def _unimplemented(match: re.Match[str], _said: Said, runtime: str) -> str:
    return f"{runtime} has no implementation of {name(match[1])} (opset {match[2]}) for its data types."


def _counts(match: re.Match[str], said: Said, _runtime: str) -> str:
    low, high = int(match["low"]), int(match["high"])
    takes = str(low) if low == high else f"at least {low}" if high >= _MANY else f"{low} to {high}"
    return f"{said.where or 'A node'} has {plural(int(match['found']), match['kind'])}, but takes {takes}."


def _declared_type(match: re.Match[str], _said: Said, _runtime: str) -> str:
    return f"The value “{name(match[2])}” is declared as {dtype(match[1])}, but its node makes {dtype(match[3])}."


def _op_at(op: str, node: str) -> str:
    return f"{name(op)} “{name(node)}”" if node.strip() else name(op)


def _wrong_input(match: re.Match[str], _said: Said, _runtime: str) -> str:
    return (
        f"{_op_at(match['op'], match['node'])} does not take the type {dtype(match['type'])} "
        f"that its input “{name(match['arg'])}” has."
    )


def _mixed_types(match: re.Match[str], _said: Said, _runtime: str) -> str:
    return (
        f"{_op_at(match['op'], match['node'])} mixes the types {dtype(match['first'])} and {dtype(match['second'])} "
        "where both must be the same."
    )


def _merged(match: re.Match[str], said: Said, _runtime: str) -> str:
    value = f"“{name(match['name'])}”" if match["name"] else f"an output of {said.where or 'a node'}"
    return f"Dimension {match['dim']} of {value} is declared as {match['declared']}, but works out as {match['found']}."


def _ranks(match: re.Match[str], said: Said, _runtime: str) -> str:
    value = f"“{name(match['name'])}”" if match["name"] else f"An output of {said.where or 'a node'}"
    declared = plural(int(match["declared"]), "dimension")
    return f"{value} is declared with {declared}, but works out with {match['found']}."


OPERATOR_CAUSES: tuple[Cause, ...] = (
    cause(
        r'In Node, \("[^"]*", (?P<op>[^"]+?), "(?P<domain>[^"]*)".*'
        r"No Op registered for \S+ with domain_version of (?P<version>\d+)",
        "model.unknown_operator",
        _unknown_op,
        _OP_HINT,
    ),
    cause(
        r'In Node, \("[^"]*", (?P<op>[^"]+?), "(?P<domain>[^"]*)".*No Op registered for',
        "model.unknown_operator",
        _unknown_op,
        _OP_HINT,
    ),
    cause(
        r"(?:error: )(?P<domain>[^:\s]*):?(?P<op>[^\s:(]+)\(-?\d+\) is not a registered function/op",
        "model.unknown_operator",
        _unknown_op,
        "This operator belongs to an extension that is not part of onnxruntime; export without it.",
    ),
    cause(
        r"Could not find an implementation for ([^\s(]+)\((\d+)\)",
        "model.unimplemented_operator",
        _unimplemented,
        "Convert the model to a newer opset, or its data to float32.",
    ),
    cause(
        r"Failed to find kernel for ([^\s(]+)\((\d+)\)",
        "model.unimplemented_operator",
        _unimplemented,
        "Convert the model to a newer opset, or its data to float32.",
    ),
    cause(
        r"Op registered for (?P<op>\S+) is deprecated in domain_version of (?P<version>\d+)",
        "model.removed_operator",
        lambda match, _said, _runtime: (
            f"The operator {name(match['op'])} is gone in opset {match['version']}, which the model uses."
        ),
        "Export the model again with the operator that took its place, or with an older opset.",
    ),
    cause(
        r"No opset import for domain '(?P<domain>[^']*)'",
        "model.unknown_domain",
        lambda match, said, _runtime: (
            f"The operator {name(said.op)}{domain_of(match['domain'])} has no opset in the model."
        ),
        "Export the model with an opset import for each domain that it uses.",
    ),
)

NODE_CAUSES: tuple[Cause, ...] = (
    cause(
        r"(?:has|got) (?P<kind>input|output) size (?P<found>\d+) not in range \[min=(?P<low>\d+), max=(?P<high>\d+)\]",
        "model.node_arity",
        _counts,
        _NODE_HINT,
    ),
    cause(
        r"'s (?P<kind>input|output) (?P<index>\d+) is marked single but has an empty string",
        "model.node_arity",
        lambda match, said, _runtime: (
            f"{said.where or 'A node'} lacks its {match['kind']} number {int(match['index']) + 1}, which it needs."
        ),
        _NODE_HINT,
    ),
    cause(
        r"Mismatched attribute type in '(?P<node>.*?) ?: (?P<attribute>[^':]*)'\. Expected: '(?P<expected>\w+)', "
        r"actual: '(?P<found>\w+)'",
        "model.attribute",
        lambda match, said, _runtime: (
            f"The attribute {name(match['attribute'])} of {said.where or 'a node'} has the type "
            f"{match['found'].lower()}, expected {match['expected'].lower()}."
        ),
        EXPORT_AGAIN,
    ),
    cause(
        r"Required attribute '(?P<attribute>[^']*)' is missing|"
        r"No attribute with (?:this )?name: ?'?(?P<other>[^']*?)'? ?is ?(?:not )?defined",
        "model.attribute",
        lambda match, said, _runtime: (
            f"{said.where or 'A node'} lacks its attribute {name(match['attribute'] or match['other'])}."
        ),
        EXPORT_AGAIN,
    ),
    cause(
        r"Unrecognized attribute: (?P<attribute>\S+) for operator (?P<op>\S+)",
        "model.attribute",
        lambda match, _said, _runtime: (
            f"{name(match['op'])} takes no attribute {name(match['attribute'])} in the model's opset."
        ),
        _NODE_HINT,
    ),
    cause(
        r"type field and data field mismatch in attribute (?P<attribute>\S+?)\.?(?:\s|$)",
        "model.attribute",
        lambda match, said, _runtime: (
            f"The attribute {name(match['attribute'])} of {said.where or 'a node'} does not hold what its type says."
        ),
        EXPORT_AGAIN,
    ),
    cause(
        r"Nodes in a graph must be topologically sorted, however input '(?P<value>[^']*)' of node:\s*"
        r"name: ?(?P<node>.*?) OpType: ?(?P<op>\S+)",
        "model.node_order",
        lambda match, _said, _runtime: (
            f"{_op_at(match['op'], match['node'])} reads “{name(match['value'])}”, which no node before it makes."
        ),
        EXPORT_AGAIN,
    ),
    cause(
        r"Field '(?P<field>[^']*)' of '(?P<owner>[^']*)' is required",
        "model.incomplete",
        lambda match, said, _runtime: (
            f"{said.where or 'A part of the model'} is incomplete: the field {name(match['field'])} "
            f"of its {name(match['owner'])} is missing."
        ),
        EXPORT_AGAIN,
    ),
    cause(
        r"'?Constant'? node|for Constant should have",
        "model.constant",
        lambda _match, said, _runtime: f"A Constant node of the model is not valid: {reason(said)}.",
        EXPORT_AGAIN,
    ),
)

GRAPH_CAUSES: tuple[Cause, ...] = (
    cause(
        r"Type Error: Type '(?P<type>.*?)' of input parameter \((?P<arg>.*?)\) of operator \((?P<op>.*?)\) in node "
        r"\((?P<node>.*?)\) is invalid",
        "model.types",
        _wrong_input,
        "Export the model with the types that the operator takes in its opset, such as float32.",
    ),
    cause(
        r"Type parameter \(.*?\) of Optype \((?P<op>.*?)\) bound to different types \((?P<first>\w+\([^ ]*\)) and "
        r"(?P<second>\w+\([^ ]*\))\)? in node \((?P<node>.*?)\)",
        "model.types",
        _mixed_types,
        "Export the model again; a Cast between the two may be missing.",
    ),
    cause(
        r"Type Error: Type \((\S+)\) of output arg \((.*?)\) of node \(.*?\) does not match expected type \((\S+)\)",
        "model.types",
        _declared_type,
        EXPORT_AGAIN,
    ),
    cause(
        r"output arg \((?P<name>.*?)\) type inference failed|type inference failed",
        "model.types",
        lambda match, said, _runtime: (
            f"The type of “{name(match['name'])}”, which {said.op or 'a node'} makes, does not work out."
            if match["name"]
            else "The type of a value does not work out."
        ),
        EXPORT_AGAIN,
    ),
    cause(
        r"(?:Mismatched tensor element type|element type mismatch)[:.] ?(?:inferred=)?(?P<found>\S+) "
        r"(?:declared=|!= )(?P<declared>\S+)",
        "model.types",
        lambda match, said, _runtime: (
            f"An output of {said.where or 'a node'} is declared as {_numbered(match['declared'])}, "
            f"but works out as {_numbered(match['found'])}."
        ),
        EXPORT_AGAIN,
    ),
    cause(
        r"(?:Output:(?P<name>.*?) )?(?:\[ShapeInferenceError\] )?Can't merge shape info\..*?Inferred=(?P<found>-?\d+) "
        r"Declared=(?P<declared>-?\d+) Dimension=(?P<dim>\d+)",
        "model.shapes",
        _merged,
        _SHAPE_HINT,
    ),
    cause(
        r"(?:Output:(?P<name>.*?) )?(?:\[ShapeInferenceError\] )?Mismatch between number of (?:inferred|source) and "
        r"(?:declared|target) dimensions\. (?:inferred|source)=(?P<found>\d+) (?:declared|target)=(?P<declared>\d+)",
        "model.shapes",
        _ranks,
        _SHAPE_HINT,
    ),
    cause(
        r"MLDataType for: (?P<type>\S+) is not currently registered or supported",
        "model.dtype_unsupported",
        lambda match, _said, runtime: f"The model uses the type {dtype(match['type'])}, which {runtime} lacks.",
        "Export the model with float32, float16 or integer types.",
    ),
    cause(
        r"Out of bounds dim",
        "model.shapes",
        "The model declares a dimension that is negative or too large.",
        _SHAPE_HINT,
    ),
    cause(
        r"(?:Model|Graph) input \((?P<name>.*?)\) does not have type information|"
        r"input arg \((?P<arg>.*?)\) does not have type information",
        "model.untyped",
        lambda match, _said, _runtime: f"The input “{name(match['name'] or match['arg'])}” has no type in the model.",
        EXPORT_AGAIN,
    ),
    cause(
        r"type_proto was false|Unsupported type proto value case|Unsupported type (?:proto|info)",
        "model.untyped",
        "An input or output of the model has no type.",
        EXPORT_AGAIN,
    ),
    cause(
        r"Node input '(?P<name>.*?)' is not a graph input, initializer, or output of a previous node|"
        r"(?P<other>\S+) in initializer but not in graph input",
        "model.missing_value",
        lambda match, _said, _runtime: (
            f"A node reads the value “{name(match['name'] or match['other'])}”, which nothing in the model makes."
        ),
        EXPORT_AGAIN,
    ),
    cause(
        r"(?:Graph|Subgraph) output \((?P<name>.*?)\)(?: does not exist| is not)",
        "model.missing_output",
        lambda match, _said, _runtime: f"No node makes the output “{name(match['name'])}” that the model promises.",
        EXPORT_AGAIN,
    ),
    cause(
        r"Subgraph output \((?P<name>.*?)\) is an outer scope value being returned directly",
        "model.missing_output",
        lambda match, _said, _runtime: (
            f"A subgraph returns “{name(match['name'])}” of the graph around it, which the runtime does not allow."
        ),
        "Put an Identity node between the value and the output of the subgraph.",
    ),
    cause(
        r"(?:Duplicate definition of name|Duplicate definition-site for|two nodes with same node name) ?"
        r"\((?P<name>.*?)\)",
        "model.duplicate_name",
        lambda match, _said, _runtime: f"Two nodes of the model make or bear the same name “{name(match['name'])}”.",
        EXPORT_AGAIN,
    ),
    cause(
        r"function call depth (?P<depth>\d+) exceeds the maximum supported depth of (?P<most>\d+)",
        "model.too_deep",
        lambda match, _said, runtime: (
            f"Functions of the model call each other more than {match['most']} deep, which {runtime} does not take."
        ),
        "Export the model without functions inside functions.",
    ),
    cause(
        r"graph is not acyclic|Cycle detected|[Cc]ycle in the graph",
        "model.cyclic",
        "Nodes of the model wait for each other in a circle.",
        EXPORT_AGAIN,
    ),
)

STAGE_CAUSES: tuple[Cause, ...] = (
    cause(
        r"rank|[Dd]im|shape|Size mismatch|evenly|divisible|[Ii]ncompatible",
        "model.shapes",
        lambda _match, said, _runtime: f"The shapes at {said.where} do not fit: {reason(said)}.",
        _SHAPE_HINT,
        stages="shape",
    ),
    cause(
        r"",
        "model.invalid_node",
        lambda _match, said, _runtime: f"{said.where or 'A node'} is not valid: {reason(said)}.",
        EXPORT_AGAIN,
        stages="node shape type",
    ),
    cause(
        r"",
        "model.invalid_node",
        lambda _match, said, runtime: f"{runtime} cannot prepare the model: {reason(said)}.",
        EXPORT_AGAIN,
        stages="prepare",
    ),
)

_NUMBERS = (
    "undefined", "float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16",
    "float64", "uint32", "uint64", "complex64", "complex128", "bfloat16", "float8e4m3fn", "float8e4m3fnuz",
    "float8e5m2", "float8e5m2fnuz", "uint4", "int4", "float4e2m1",
)  # fmt: skip


def _numbered(value: str) -> str:
    """The name of a type that the runtime gives by its number in `TensorProto`."""
    value = value.strip(".,;")
    if value.isascii() and value.isdigit():
        return _NUMBERS[int(value)] if int(value) < len(_NUMBERS) else f"type number {value}"
    return dtype(f"tensor({value})")
