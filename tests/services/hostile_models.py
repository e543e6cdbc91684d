"""Generated variants of every family of broken and hostile model files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, helper, numpy_helper

from quickserveml_tui.graph.protobuf import field, varint

OPSET, IR = 17, 8
FLOAT, INT32, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL
ESC, RTL = "\x1b[31m\x1b]52;c;eA==\x07", "\u202e\u2066"


def value(name, dtype=FLOAT, shape=("N", 4)):
    return helper.make_tensor_value_info(name, dtype, shape)


def const(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, **attributes)


def model(nodes, inputs=None, outputs=None, initializers=(), *, functions=(), domains=(), name="g") -> ModelProto:
    graph = helper.make_graph(
        list(nodes), name, inputs if inputs is not None else [value("x")],
        outputs if outputs is not None else [value("y", shape=None)], list(initializers),
    )  # fmt: skip
    imports = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=IR, functions=list(functions))


def good(scale: float = 1.0) -> ModelProto:
    return model([node("Mul", ["x", "s"], ["y"])], initializers=[const("s", np.float32(scale))])


# ---- crashes, loops, memory -----------------------------------------------------------------------------------------


def fold_trap(op: str, dtype, low: int) -> ModelProto:
    """Integer minimum and −1, both constant: folded while the session is made."""
    ints = [const("a", np.array([low], dtype)), const("b", np.array([-1], dtype))]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [node(op, ["a", "b"], ["q"]), node("Add", ["q", "x"], ["y"])]
    return model(nodes, [value("x", kind, [1])], [value("y", kind, [1])], ints)


def run_trap() -> ModelProto:
    """The same, out of the optimiser's sight: the minimum is made from the input."""
    nodes = [node("Mul", ["x", "zero"], ["z"]), node("Add", ["z", "a"], ["low"]), node("Div", ["low", "b"], ["y"])]
    ints = [
        const("zero", np.zeros(1, np.int64)),
        const("a", np.array([-(2**63)], np.int64)),
        const("b", np.array([-1])),
    ]
    return model(nodes, [value("x", INT64, [1])], [value("y", INT64, [1])], ints)


def _loop(body_nodes, state, trips=2**62, initializers=()) -> ModelProto:
    body = helper.make_graph(
        [node("Identity", ["c"], ["c_out"]), *body_nodes], "body",
        [value("i", INT64, []), value("c", BOOL, []), value("v", shape=state)],
        [value("c_out", BOOL, []), value("v_out", shape=None)],
    )  # fmt: skip
    constants = [const("trips", np.array(trips, np.int64)), const("go", np.array(True)), *initializers]
    return model([node("Loop", ["trips", "go", "x"], ["y"], body=body)], initializers=constants)


def endless_loop() -> ModelProto:
    return _loop([node("Add", ["v", "v"], ["v_out"])], ("N", 4))


def growing_loop() -> ModelProto:
    return _loop([node("Concat", ["v", "v"], ["v_out"], axis=0)], (None, None), trips=80)


def _made_large(op_nodes, *initializers) -> ModelProto:
    nodes = [node("Shape", ["x"], ["s"]), *op_nodes, node("ReduceSum", ["block"], ["y"], keepdims=0)]
    return model(nodes, initializers=initializers)


def shape_bomb() -> ModelProto:
    huge = const("huge", np.array([2**32, 1], np.int64))
    return _made_large([node("Mul", ["s", "huge"], ["size"]), node("ConstantOfShape", ["size"], ["block"])], huge)


def expand_bomb() -> ModelProto:
    nodes = [node("Concat", ["huge", "s"], ["size"], axis=0), node("Expand", ["x", "size"], ["block"])]
    return _made_large(nodes, const("huge", np.array([2**33], np.int64)))


def tile_bomb() -> ModelProto:
    nodes = [node("Mul", ["s", "huge"], ["size"]), node("Tile", ["x", "size"], ["block"])]
    return _made_large(nodes, const("huge", np.array([2**33, 1], np.int64)))


# ---- nesting --------------------------------------------------------------------------------------------------------


def _functions(levels: int, calls: int) -> ModelProto:
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid("f", 1)]
    functions = [helper.make_function("f", "F0", ["a"], ["b"], [node("Neg", ["a"], ["b"])], imports)]
    for level in range(1, levels):
        names = ["a", *(f"m{number}" for number in range(calls - 1)), "b"]
        nodes = [node(f"F{level - 1}", [names[at]], [names[at + 1]], domain="f") for at in range(calls)]
        functions.append(helper.make_function("f", f"F{level}", ["a"], ["b"], nodes, imports))
    return model([node(f"F{levels - 1}", ["x"], ["y"], domain="f")], functions=functions, domains=("f",))


def deep_functions() -> ModelProto:
    return _functions(2_000, 1)


def exploding_functions() -> ModelProto:
    return _functions(40, 2)


def recursive_function() -> ModelProto:
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid("f", 1)]
    body = helper.make_function("f", "F", ["a"], ["b"], [node("F", ["a"], ["b"], domain="f")], imports)
    return model([node("F", ["x"], ["y"], domain="f")], functions=[body], domains=("f",))


def nested_ifs(depth: int) -> bytes:
    """Written on the wire: protobuf's own classes refuse to go that deep."""
    inner = value("t", shape=[1]).SerializeToString()
    graph = field(1, field(1, b"x") + field(2, b"t") + field(4, b"Neg")) + field(2, b"b") + field(12, inner)
    for level in range(depth):
        branches = b"".join(
            field(
                5,
                field(1, name)
                + varint(20 << 3)
                + varint(AttributeProto.GRAPH)
                + field(6, graph if name[:1] == b"t" else _leaf(level)),
            )
            for name in (b"then_branch", b"else_branch")
        )
        graph = (
            field(1, field(1, b"c") + field(2, b"t") + field(4, b"If") + branches) + field(2, b"b") + field(12, inner)
        )
    top = GraphProto(name="g", input=[value("x", shape=[1]), value("c", BOOL, [])])
    head = good()
    head.ClearField("graph")
    return head.SerializeToString() + field(7, graph + top.SerializeToString())


def _leaf(_level: int) -> bytes:
    body = helper.make_graph([node("Identity", ["x"], ["t"])], "leaf", [], [value("t", shape=[1])])
    return body.SerializeToString()


# ---- broken graphs --------------------------------------------------------------------------------------------------


def cyclic() -> ModelProto:
    return model([node("Add", ["x", "b"], ["a"]), node("Neg", ["a"], ["b"]), node("Neg", ["b"], ["y"])])


def self_loop() -> ModelProto:
    return model([node("Add", ["x", "y"], ["y"])])


def twice_made() -> ModelProto:
    return model([node("Neg", ["x"], ["y"]), node("Abs", ["x"], ["y"])])


def same_node_names() -> ModelProto:
    return model([node("Neg", ["x"], ["a"], name="n"), node("Abs", ["a"], ["y"], name="n")])


def same_input_twice() -> ModelProto:
    return model([node("Neg", ["x"], ["y"])], [value("x"), value("x")])


def ghost_input() -> ModelProto:
    return model([node("Add", ["x", "ghost"], ["y"])])


def ghost_output() -> ModelProto:
    return model([node("Neg", ["x"], ["z"])])


def no_outputs() -> ModelProto:
    return model([node("Neg", ["x"], ["y"])], outputs=[])


def half_an_if() -> ModelProto:
    branch = helper.make_graph([node("Neg", ["x"], ["t"])], "b", [], [value("t")])
    return model([node("If", ["c"], ["y"], then_branch=branch)], [value("x"), value("c", BOOL, [])])


def loop_of_wrong_arity() -> ModelProto:
    body = helper.make_graph([node("Neg", ["v"], ["w"])], "b", [value("v")], [value("w")])
    constants = [const("trips", np.array(3, np.int64)), const("go", np.array(True))]
    return model([node("Loop", ["trips", "go", "x"], ["y"], body=body)], initializers=constants)


def constant_without_value() -> ModelProto:
    return model([node("Constant", [], ["c"]), node("Add", ["x", "c"], ["y"])])


def negative_kernel() -> ModelProto:
    weight = const("w", np.ones((1, 1, 3, 3), np.float32))
    inputs = [value("x", shape=[1, 1, 8, 8])]
    return model([node("Conv", ["x", "w"], ["y"], kernel_shape=[-3, 3], strides=[0, 0])], inputs, initializers=[weight])


def index_beyond() -> ModelProto:
    return model([node("Gather", ["x", "i"], ["y"])], initializers=[const("i", np.array([2**40], np.int64))])


def unknown_type() -> ModelProto:
    broken = good()
    broken.graph.input[0].type.tensor_type.elem_type = 99
    return broken


# ---- names ----------------------------------------------------------------------------------------------------------


def renamed(name: str, op: str = "Neg") -> ModelProto:
    return model([node(op, [name], ["y"], name=f"node {name}"[:100])], [value(name)], name=f"graph {name}"[:100])


def bad_utf8() -> bytes:
    return (
        renamed("name-to-break", "Frobnicate")
        .SerializeToString()
        .replace(b"name-to-break", b"\xff\xfe\xc0\xaf-break!!!")
    )


def evil_operator() -> ModelProto:
    return model([node(f"Frob{ESC}{RTL}\n[/]", ["x"], ["y"], domain=f"com{ESC}\n.acme")], domains=(f"com{ESC}\n.acme",))


# ---- tensors --------------------------------------------------------------------------------------------------------


def with_tensor(tensor: TensorProto) -> ModelProto:
    tensor.name = "w"
    return model([node("Add", ["x", "w"], ["y"])], initializers=[tensor])


def raw(dims, data: bytes, dtype=FLOAT) -> ModelProto:
    return with_tensor(TensorProto(dims=dims, data_type=dtype, raw_data=data))


def wrong_field() -> ModelProto:
    return with_tensor(TensorProto(dims=[4], data_type=INT64, float_data=[1.0, 2.0, 3.0, 4.0]))


def strings_as_bytes() -> ModelProto:
    return raw([1], b"abcd", TensorProto.STRING)


def bad_sparse() -> ModelProto:
    broken = model([node("Add", ["x", "w"], ["y"])])
    sparse = broken.graph.sparse_initializer.add(dims=[4])
    sparse.values.CopyFrom(const("w", np.ones(2, np.float32)))
    sparse.indices.CopyFrom(const("at", np.array([1, 2**40], np.int64)))
    return broken


def many_dims(count: int) -> ModelProto:
    return with_tensor(TensorProto(dims=[1] * count, data_type=FLOAT, float_data=[1.0]))


def wide_input(shape) -> ModelProto:
    return model([node("Neg", ["x"], ["y"])], [value("x", shape=shape)])


def external(*locations: str, offset="", length="", count=4) -> ModelProto:
    """A sum of weights, each with its data in a file; the files are the caller's."""
    tensors, nodes, last = [], [], "x"
    for number, location in enumerate(locations):
        tensor = TensorProto(name=f"w{number}", data_type=FLOAT, dims=[count], data_location=TensorProto.EXTERNAL)
        for key, text in (("location", location), ("offset", offset), ("length", length)):
            if text:
                tensor.external_data.add(key=key, value=text)
        tensors.append(tensor)
        nodes.append(node("Add", [last, f"w{number}"], [f"a{number}"]))
        last = f"a{number}"
    return model([*nodes, node("Identity", [last], ["y"])], initializers=tensors)


def save(proto: ModelProto | bytes, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(proto if isinstance(proto, bytes) else proto.SerializeToString())
    return path


REJECTED, UNRUNNABLE, QUARANTINED, READY = "rejected", "unrunnable", "quarantined", "ready"

FAMILIES = {
    "division folded, 32 bits": (lambda: fold_trap("Div", np.int32, -(2**31)), {QUARANTINED}),
    "division folded, 64 bits": (lambda: fold_trap("Div", np.int64, -(2**63)), {QUARANTINED}),
    "remainder folded": (lambda: fold_trap("Mod", np.int32, -(2**31)), {QUARANTINED, READY}),
    "division at run": (run_trap, {QUARANTINED}),
    "endless loop": (endless_loop, {QUARANTINED}),
    "growing loop": (growing_loop, {QUARANTINED, UNRUNNABLE}),
    "block of 64 GB": (shape_bomb, {QUARANTINED}),
    "expanded to 128 GB": (expand_bomb, {QUARANTINED}),
    "tiled to 128 GB": (tile_bomb, {QUARANTINED, UNRUNNABLE}),
    "functions 2,000 deep": (deep_functions, {QUARANTINED, UNRUNNABLE}),
    "functions that double 40 times": (exploding_functions, {QUARANTINED, UNRUNNABLE}),
    "function that calls itself": (recursive_function, {REJECTED, UNRUNNABLE, QUARANTINED}),
    "subgraphs 1,000 deep": (lambda: nested_ifs(1000), {REJECTED}),
    "subgraphs 20 deep": (lambda: nested_ifs(20), {READY}),
    "cycle": (cyclic, {REJECTED}),
    "node that reads itself": (self_loop, {REJECTED}),
    "value made twice": (twice_made, {REJECTED}),
    "node names twice": (same_node_names, {UNRUNNABLE}),
    "input twice": (same_input_twice, {REJECTED, UNRUNNABLE}),
    "input from nowhere": (ghost_input, {REJECTED}),
    "output from nowhere": (ghost_output, {REJECTED, UNRUNNABLE}),
    "no outputs": (no_outputs, {REJECTED}),
    "half an If": (half_an_if, {UNRUNNABLE}),
    "Loop of the wrong arity": (loop_of_wrong_arity, {UNRUNNABLE}),
    "Constant without a value": (constant_without_value, {UNRUNNABLE, REJECTED}),
    "negative kernel, no stride": (negative_kernel, {UNRUNNABLE, QUARANTINED}),
    "index beyond the table": (index_beyond, {UNRUNNABLE}),
    "unknown element type": (unknown_type, {REJECTED, UNRUNNABLE}),
    "NUL in a name": (lambda: renamed("a\0b"), {READY, UNRUNNABLE, REJECTED}),
    "name of a million characters": (lambda: renamed("n" * 1_000_000, "Frobnicate"), {UNRUNNABLE, REJECTED}),
    "escapes in names": (lambda: renamed(f"x{ESC}\r\n{RTL}[/]<script>", "Frobnicate"), {UNRUNNABLE}),
    "escapes in an operator": (evil_operator, {UNRUNNABLE, REJECTED}),
    "bad UTF-8": (bad_utf8, {UNRUNNABLE, REJECTED}),
    "negative dims": (lambda: raw([-4], b"\0" * 16), {REJECTED}),
    "dims that overflow": (lambda: raw([2**60, 2**60], b""), {REJECTED}),
    "a hundred thousand dims": (lambda: many_dims(100_000), {UNRUNNABLE, REJECTED, READY}),
    "raw data too short": (lambda: raw([4], b"\0" * 12), {REJECTED}),
    "raw data too long": (lambda: raw([4], b"\0" * 20), {REJECTED}),
    "data in the wrong field": (wrong_field, {REJECTED}),
    "strings as raw bytes": (strings_as_bytes, {REJECTED}),
    "sparse indices beyond": (bad_sparse, {REJECTED, UNRUNNABLE}),
    "type 0": (lambda: raw([4], b"\0" * 16, 0), {REJECTED}),
    "input of 2^60 rows": (lambda: wide_input([2**60, 4]), {UNRUNNABLE}),
    "input of a hundred thousand dims": (lambda: wide_input([1] * 100_001), {REJECTED}),
    "data at a memory address": (lambda: external("*/_ORT_MEM_ADDR_/*"), {REJECTED}),
    "data that is missing": (lambda: external("absent.bin"), {REJECTED}),
    "data up and away": (lambda: external("../../../../etc/passwd"), {REJECTED}),
    "data at an absolute path": (lambda: external("/etc/passwd"), {REJECTED}),
    "data in /proc": (lambda: external("/proc/self/mem"), {REJECTED}),
    "data on drive C": (lambda: external("C:\\Windows\\win.ini"), {REJECTED}),
    "data on another machine": (lambda: external("\\\\host\\share\\w.bin"), {REJECTED}),
    "data past a backslash": (lambda: external("..\\w.bin"), {REJECTED}),
    "data without a name": (lambda: external(""), {REJECTED}),
    "data in its own file": (lambda: external("model.onnx"), {REJECTED}),
    "data with escapes in its name": (lambda: external(f"w{ESC}\n.bin"), {REJECTED}),
    "data in 10,001 files": (lambda: external(*(f"w{at}.bin" for at in range(10_001)), count=1), {REJECTED}),
}  # fmt: skip
"""What becomes of each variant: one of these outcomes."""


def load(path: Path) -> ModelProto:
    return onnx.load(path, load_external_data=False)
