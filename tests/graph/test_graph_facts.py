"""Facts are true: weights wherever they hide, multiply-adds by the references, and damage named."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
from graph_builders import FLOAT, external_tensor, matmul_with, model, relu_model, save, value, weight
from onnx import TensorProto, helper, numpy_helper

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.graph.facts import read_facts

_SPEC = importlib.util.find_spec("onnx")
LIGHT = Path(_SPEC.submodule_search_locations[0]) / "backend" / "test" / "data" / "light"

REFERENCE = {
    "squeezenet": (1.235e6, 0.3492e9),
    "resnet50": (25.610e6, 4.0892e9),
    "vgg19": (143.667e6, 19.632e9),
    "densenet121": (8.146e6, 2.834e9),
    "shufflenet": (1.420e6, 0.1247e9),
}


def facts_of(proto, tmp_path):
    return read_facts(save(proto, tmp_path))


def refusal(proto, tmp_path):
    with pytest.raises(ModelError) as caught:
        facts_of(proto, tmp_path)
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value


@pytest.mark.skipif(not LIGHT.is_dir(), reason="this onnx package comes without its light models")
@pytest.mark.parametrize("name", REFERENCE)
def test_parameters_and_multiply_adds_of_known_networks_match_the_reference(name):
    facts = read_facts(LIGHT / f"light_{name}.onnx")
    params, macs = REFERENCE[name]
    assert facts.params == pytest.approx(params, rel=5e-4)
    assert facts.macs == pytest.approx(macs, rel=5e-4)
    assert facts.main_dtype == "float32"
    assert len(facts.inputs) == 1


def _counted_by_hand(model):
    """Elements of all constants but those that only give shapes, by onnx's own arrays."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    shapes = {node.input[0] for node in model.graph.node if node.op_type == "ConstantOfShape"}
    shapes |= {node.input[1] for node in model.graph.node if node.op_type == "Reshape"}
    made = [arrays[node.input[0]] for node in model.graph.node if node.op_type == "ConstantOfShape"]
    held = [array.size for name, array in arrays.items() if name not in shapes]
    held += [helper.get_node_attr_value(n, "value").dims for n in model.graph.node if n.op_type == "Constant"]
    return sum(held) + sum(int(np.prod(shape)) for shape in made)


@pytest.mark.skipif(not LIGHT.is_dir(), reason="this onnx package comes without its light models")
@pytest.mark.parametrize("path", sorted(LIGHT.glob("light_*.onnx")), ids=lambda path: path.stem)
def test_parameters_of_the_light_networks_are_what_their_constants_add_up_to(path):
    assert read_facts(path).params == _counted_by_hand(onnx.load(path))


def test_the_header_and_the_inputs_and_outputs_are_told(tmp_path):
    proto = model(
        [helper.make_node("Relu", ["x"], ["y"])],
        inputs=[value("x", ("batch", None, 4))],
        outputs=[value("y", None)],
        domains=("ai.onnx.ml",),
    )
    proto.producer_name, proto.producer_version, proto.doc_string = "maker", "1.2", "What it is."
    proto.metadata_props.add(key="author", value="me")
    facts = facts_of(proto, tmp_path)
    assert (facts.ir_version, facts.opsets) == (8, {"ai.onnx": 17, "ai.onnx.ml": 1})
    assert (facts.producer, facts.doc, facts.metadata) == ("maker 1.2", "What it is.", {"author": "me"})
    assert facts.inputs[0].shape == ("batch", None, 4)
    assert facts.outputs[0].shape is None
    assert (facts.nodes, facts.op_types, facts.params) == (1, {"Relu": 1}, 0)


def test_initializers_listed_as_inputs_by_old_models_are_weights_and_no_inputs(tmp_path):
    proto = model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        inputs=[value("x"), value("w", (4, 4))],
        initializers=[weight("w", np.ones((4, 4), np.float32))],
        ir=3,
        opset=8,
    )
    facts = facts_of(proto, tmp_path)
    assert [spec.name for spec in facts.inputs] == ["x"]
    assert facts.params == 16


def test_weights_count_in_constants_of_every_kind(tmp_path):
    shape = weight("shape", np.array([4, 8], np.int64))
    sparse = helper.make_sparse_tensor(
        weight("s", np.ones(3, np.float32)), weight("s_index", np.array([0, 5, 9], np.int64)), [4, 4]
    )
    nodes = [
        helper.make_node("Constant", [], ["a"], value=weight("a", np.ones((8, 2), np.float32))),
        helper.make_node("Constant", [], ["b"], value_floats=[1.0, 2.0]),
        helper.make_node("Constant", [], ["target"], value_ints=[-1, 2]),
        helper.make_node("ConstantOfShape", ["shape"], ["c"]),
        helper.make_node("MatMul", ["x", "s"], ["h0"]),
        helper.make_node("MatMul", ["h0", "c"], ["h1"]),
        helper.make_node("MatMul", ["h1", "a"], ["h2"]),
        helper.make_node("Add", ["h2", "b"], ["h3"]),
        helper.make_node("Reshape", ["h3", "target"], ["y"]),
    ]
    proto = model(nodes, outputs=[value("y", None)], initializers=[shape], sparse_initializer=[sparse])
    facts = facts_of(proto, tmp_path)
    assert facts.weight_dtypes == {"float32": 3 + 16 + 2 + 32}, "shapes of Reshape and ConstantOfShape are no weights"


def _branch(name, columns):
    weights = [weight(f"w_{name}", np.ones((4, columns), np.float32))]
    return helper.make_graph(
        [helper.make_node("MatMul", ["x", f"w_{name}"], [f"o_{name}"])], name, [], [value(f"o_{name}", None)], weights
    )


def test_subgraphs_count_with_their_nodes_weights_and_the_dearer_branch(tmp_path):
    node = helper.make_node("If", ["flag"], ["y"], then_branch=_branch("a", 3), else_branch=_branch("b", 5))
    proto = model(
        [node], inputs=[value("x"), value("flag", (), TensorProto.BOOL)], outputs=[value("y", ("batch", "n"))]
    )
    facts = facts_of(proto, tmp_path)
    assert facts.params == 12 + 20
    assert facts.nodes == 3
    assert facts.op_types == {"MatMul": 2, "If": 1}
    assert facts.macs == 4 * 5


def test_functions_count_once_in_weights_and_at_each_call_in_multiply_adds(tmp_path):
    body = [
        helper.make_node("Constant", [], ["w"], value=weight("w", np.ones((4, 4), np.float32))),
        helper.make_node("MatMul", ["p", "w"], ["q"]),
    ]
    function = helper.make_function("own", "F", ["p"], ["q"], body, [helper.make_opsetid("", 17)])
    nodes = [helper.make_node("F", ["x"], ["h"], domain="own"), helper.make_node("F", ["h"], ["y"], domain="own")]
    facts = facts_of(model(nodes, functions=[function], domains=("own",)), tmp_path)
    assert (facts.params, facts.functions, facts.macs) == (16, 1, 32)
    assert facts.op_types == {"own:F": 2}


def test_exploding_functions_are_read_at_once_and_said_to_be_too_large(tmp_path):
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    functions = [
        helper.make_function(
            "own", f"F{level}", ["p"], ["q"],
            [helper.make_node(f"F{level + 1}", ["p"], ["h"], domain="own"),
             helper.make_node(f"F{level + 1}", ["h"], ["q"], domain="own")], opset)
        for level in range(30)
    ]  # fmt: skip
    functions.append(helper.make_function("own", "F30", ["p"], ["q"], [helper.make_node("Relu", ["p"], ["q"])], opset))
    proto = model([helper.make_node("F0", ["x"], ["y"], domain="own")], functions=functions, domains=("own",))
    facts = facts_of(proto, tmp_path)
    assert facts.macs is None
    assert "too many nodes" in facts.warnings[0]


def test_a_function_that_calls_itself_is_refused(tmp_path):
    opset = [helper.make_opsetid("own", 1)]
    loop = helper.make_function("own", "F", ["p"], ["q"], [helper.make_node("F", ["p"], ["q"], domain="own")], opset)
    proto = model([helper.make_node("F", ["x"], ["y"], domain="own")], functions=[loop], domains=("own",))
    assert "calls itself" in refusal(proto, tmp_path).message


def test_chains_of_thousands_of_functions_are_measured_without_recursion(tmp_path):
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    functions = [
        helper.make_function("own", f"F{n}", ["p"], ["q"], [helper.make_node(f"F{n + 1}", ["p"], ["q"], domain="own")],
                             opset) for n in range(3000)
    ]  # fmt: skip
    functions.append(
        helper.make_function("own", "F3000", ["p"], ["q"], [helper.make_node("Relu", ["p"], ["q"])], opset)
    )
    proto = model([helper.make_node("F0", ["x"], ["y"], domain="own")], functions=functions, domains=("own",))
    assert "deep" in facts_of(proto, tmp_path).warnings[0]


BROKEN = {
    "cycle": ([helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"]),
               helper.make_node("Relu", ["a"], ["y"])], "cycle"),
    "ghost": ([helper.make_node("Add", ["x", "ghost"], ["y"])], "“ghost”, which nothing makes"),
    "twice": ([helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["y"])], "made twice"),
    "input": ([helper.make_node("Relu", ["x"], ["x"]), helper.make_node("Neg", ["x"], ["y"])], "made twice"),
    "output of nobody": ([helper.make_node("Relu", ["x"], ["z"])], "which nothing makes"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_a_graph_that_cannot_make_sense_is_refused(kind, tmp_path):
    nodes, words = BROKEN[kind]
    error = refusal(model(nodes), tmp_path)
    assert error.code == "model.broken"
    assert words in error.message


def test_a_subgraph_that_reads_a_name_nobody_makes_is_refused(tmp_path):
    branch = helper.make_graph([helper.make_node("Relu", ["ghost"], ["o"])], "b", [], [value("o")])
    node = helper.make_node("If", ["flag"], ["y"], then_branch=branch, else_branch=branch)
    proto = model([node], inputs=[value("flag", (), TensorProto.BOOL)])
    assert "“ghost”" in refusal(proto, tmp_path).message


def test_unsorted_nodes_without_a_cycle_are_readable(tmp_path):
    nodes = [helper.make_node("Relu", ["h"], ["y"]), helper.make_node("Neg", ["x"], ["h"])]
    facts = facts_of(model(nodes), tmp_path)
    assert facts.nodes == 2
    assert facts.warnings[-1].startswith("Checker:")


def test_a_model_without_outputs_is_refused(tmp_path):
    assert refusal(model([helper.make_node("Relu", ["x"], ["y"])], outputs=[]), tmp_path).code == "model.no_outputs"


def _damaged(dims, data=b"", **fields):
    return TensorProto(name="w", data_type=FLOAT, dims=dims, raw_data=data, **fields)


@pytest.mark.parametrize(
    "tensor",
    [_damaged([4, 4], b"\0" * 8), _damaged([-1, 4]), _damaged([2**60, 2**60]), _damaged([2] * 10_000),
     TensorProto(name="w", data_type=FLOAT, dims=[4, 4], float_data=[1.0]),
     TensorProto(name="w", data_type=FLOAT, dims=[4, 4]), TensorProto(name="w", dims=[1], raw_data=b"\0" * 4),
     external_tensor("w", "w.bin", dims=(-1, 4))],
    ids=["short", "negative", "overflow", "many dims", "typed short", "no data", "no type", "external negative"],
)  # fmt: skip
def test_a_damaged_tensor_is_refused(tensor, tmp_path):
    assert refusal(matmul_with(tensor), tmp_path).code == "model.bad_tensor"


@pytest.mark.parametrize(("ir", "code"), [(99, "model.ir_too_new"), (0, "model.ir_too_new")])
def test_an_ir_version_that_nobody_knows_is_refused(ir, code, tmp_path):
    proto = relu_model()
    proto.ir_version = ir
    assert refusal(proto, tmp_path).code == code


def test_what_only_the_runtime_may_refuse_is_readable_with_a_warning(tmp_path):
    custom = model([helper.make_node("MyOp", ["x"], ["y"], domain="com.acme")], domains=("com.acme",))
    unknown = model([helper.make_node("Frobnicate", ["x"], ["y"])])
    future = model([helper.make_node("Relu", ["x"], ["y"])], opset=99)
    twins = model([helper.make_node("Relu", ["x"], ["h"], name="n"), helper.make_node("Neg", ["h"], ["y"], name="n")])
    nan = matmul_with(weight("w", np.full((4, 4), np.nan, np.float32)))
    for proto, words in ((custom, "custom operator library"), (unknown, "Frobnicate"), (future, "Opset 99"),
                         (twins, "“n”"), (nan, "NaN")):  # fmt: skip
        assert words in " ".join(facts_of(proto, tmp_path).warnings)


def test_nesting_beyond_the_parsers_limit_is_refused(tmp_path):
    def field(number, payload):
        size, prefix = len(payload), bytearray([number << 3 | 2])
        while size > 127:
            prefix.append(size & 127 | 128)
            size >>= 7
        return bytes([*prefix, size]) + payload

    graph = field(12, value("y").SerializeToString())
    for _ in range(1000):
        node = field(2, b"y") + field(4, b"If") + field(5, field(1, b"b") + field(6, graph))
        graph = field(1, node) + field(12, value("y").SerializeToString())
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x08" + field(8, b"\x10\x11") + field(7, graph))
    with pytest.raises(ModelError, match="nested too deep"):
        read_facts(path)


def test_invalid_utf8_and_strange_names_are_read_without_an_error(tmp_path):
    path = tmp_path / "model.onnx"
    proto = model([helper.make_node("Relu", ["\x1b[31m"], ["y\0"])], inputs=[value("\x1b[31m")], outputs=[value("y\0")])
    path.write_bytes(proto.SerializeToString() + b"\x12\x02\xff\xfe")
    facts = read_facts(path)
    assert facts.producer == "\ufffd\ufffd"
    assert facts.inputs[0].name == "\x1b[31m"


def test_kinds_other_than_tensors_are_named(tmp_path):
    proto = model(
        [helper.make_node("SplitToSequence", ["x"], ["y"])],
        outputs=[helper.make_tensor_sequence_value_info("y", FLOAT, None)],
    )
    spec = facts_of(proto, tmp_path).outputs[0]
    assert (spec.kind, spec.dtype) == ("sequence", "seq(tensor(float32))")


def test_reading_facts_leaves_no_trace_in_the_file(tmp_path):
    path = save(matmul_with(weight("w", np.ones((4, 4), np.float32))), tmp_path)
    before = path.read_bytes()
    read_facts(path)
    assert path.read_bytes() == before


def test_a_large_weight_changes_neither_shapes_nor_the_checkers_verdict(tmp_path):
    nodes = [
        helper.make_node("Constant", [], ["c"], value=weight("c", np.ones((64, 32), np.float32))),
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("MatMul", ["h", "c"], ["y"]),
    ]
    proto = model(nodes, outputs=[value("y", ("batch", 32))], initializers=[weight("w", np.ones((4, 64), np.float32))])
    onnx.checker.check_model(proto)
    facts = facts_of(proto, tmp_path)
    assert facts.macs == 4 * 64 + 64 * 32
    assert facts.warnings == ()
