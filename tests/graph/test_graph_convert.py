"""Converting changes only the numbers where that is exact, translates else, and names what stands in the way."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from convert_models import (
    branches,
    constant,
    external,
    function,
    gelu,
    model,
    relu,
    resize,
    save,
    sparse,
    squeeze,
    upsample,
    value,
)
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.graph.alike import HIDDEN, hide_alike
from quickserveml_tui.graph.convert import convert_file
from quickserveml_tui.graph.reference import evaluate

NEWEST = onnx.defs.onnx_opset_version()


def convert(tmp_path, proto, opset=None, ir=None):
    source = save(tmp_path / "in.onnx", proto)
    target = tmp_path / "out.onnx"
    conversion = convert_file(source, target, opset, ir)
    return conversion, onnx.load(target)


def refused(tmp_path, proto, opset=None, ir=None) -> ModelError:
    with pytest.raises(ModelError) as caught:
        convert(tmp_path, proto, opset, ir)
    assert not (tmp_path / "out.onnx").exists()
    assert caught.value.message.endswith(".")
    assert caught.value.hint
    return caught.value


def outputs(proto, **inputs):
    return ReferenceEvaluator(proto).run(None, inputs)


ROW = np.array([[1, -2, 3]], np.float32)


def test_a_model_that_is_new_only_by_its_numbers_keeps_every_byte_but_them(tmp_path):
    before = relu(opset=NEWEST, ir=onnx.IR_VERSION)
    before.doc_string = "kept"
    before.graph.node[0].metadata_props.add(key="kept", value="too")
    conversion, after = convert(tmp_path, before, 21, 10)
    assert (conversion.opset_before, conversion.opset, conversion.ir_version) == (NEWEST, 21, 10)
    assert conversion.by.startswith("quickserveml ")
    after.opset_import[0].version, after.ir_version = NEWEST, onnx.IR_VERSION
    assert after == before


def test_an_operator_that_differs_is_translated_up(tmp_path):
    before = squeeze()
    conversion, after = convert(tmp_path, before, 13)
    assert conversion.by == f"onnx {onnx.__version__} version_converter"
    assert len(after.graph.node[-1].input) == 2
    np.testing.assert_array_equal(outputs(after, x=ROW), outputs(before, x=ROW))


def test_an_operator_that_differs_is_translated_down(tmp_path):
    _, up = convert(tmp_path, squeeze(), 13)
    (tmp_path / "out.onnx").unlink()
    _, after = convert(tmp_path, up, 12)
    assert len(after.graph.node[-1].input) == 1
    np.testing.assert_array_equal(outputs(after, x=ROW), outputs(squeeze(), x=ROW))


def test_operators_that_only_got_more_data_types_go_down_beside_one_that_is_translated(tmp_path):
    before = model(
        [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Softmax", ["r"], ["y"])],
        [value("x", (2, 3, 4))], [value("y", (2, 3, 4))], opset=14,
    )  # fmt: skip
    _, after = convert(tmp_path, before, 12)
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 12
    assert [(entry.domain, entry.version) for entry in after.opset_import] == [("", 12)]
    assert [node.domain for node in after.graph.node] == ["", ""]
    np.testing.assert_allclose(outputs(after, x=x)[0], outputs(before, x=x)[0], rtol=1e-6)


def test_attributes_that_an_older_opset_lacks_go_where_they_have_their_default(tmp_path):
    def reshape(allowzero):
        node = helper.make_node("Reshape", ["x", "s"], ["y"], allowzero=allowzero)
        return model([node], [value("x", (1, 3))], [value("y", None)], [constant("s", np.array([3, 1]))], opset=14)

    _, after = convert(tmp_path, reshape(0), 12)
    assert not after.graph.node[0].attribute
    (tmp_path / "out.onnx").unlink()
    assert "Reshape" in refused(tmp_path, reshape(1), 12).message


def test_loops_go_down_with_all_that_is_in_them(tmp_path):
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c_out"]), helper.make_node("Add", ["v", "v"], ["v_out"])],
        "body",
        [value("i", (), TensorProto.INT64), value("c", (), TensorProto.BOOL), value("v", (3,))],
        [value("c_out", (), TensorProto.BOOL), value("v_out", (3,))],
    )
    loop = helper.make_node("Loop", ["n", "go", "x"], ["y"], body=body)
    constants = [constant("n", np.array(3)), constant("go", np.array(True))]
    _, after = convert(tmp_path, model([loop], [value("x", (3,))], [value("y", (3,))], constants, opset=17), 11)
    assert {node.domain for node in (*after.graph.node, *after.graph.node[0].attribute[0].g.node)} == {""}
    np.testing.assert_array_equal(outputs(after, x=np.ones(3, np.float32))[0], [8, 8, 8])


def test_a_function_that_the_converter_cannot_bring_down_stays_where_it_can_stay_as_it_is(tmp_path):
    _, after = convert(tmp_path, function("Relu", opset=17), 12)
    assert [(entry.domain, entry.version) for entry in after.functions[0].opset_import] == [("", 12)]
    np.testing.assert_array_equal(outputs(after, x=ROW)[0], np.maximum(ROW, 0))


def test_a_newer_opset_raises_the_ir_version_to_what_it_needs(tmp_path):
    conversion, after = convert(tmp_path, relu(opset=14, ir=7), 21)
    assert (conversion.ir_before, conversion.ir_version, after.ir_version) == (7, 10, 10)


def test_only_the_ir_version_changes_where_only_that_is_asked(tmp_path):
    conversion, after = convert(tmp_path, relu(ir=8), None, 9)
    assert (conversion.opset, conversion.ir_version, after.ir_version) == (17, 9, 9)


@pytest.mark.parametrize(("ir", "named"), [(3, "opset 17"), (99, "99"), (0, "0")])
def test_an_ir_version_that_does_not_fit_is_refused(tmp_path, ir, named):
    error = refused(tmp_path, relu(), None, ir)
    assert error.code == "convert.failed"
    assert named in error.message.lower()


def test_an_ir_version_without_the_models_types_is_refused(tmp_path):
    small = TensorProto(name="w", data_type=TensorProto.INT4, dims=[4], raw_data=b"\x21\x43")
    scale = constant("s", np.float32(1))
    proto = model(
        [helper.make_node("DequantizeLinear", ["w", "s"], ["y"])],
        [],
        [value("y", (4,))],
        [small, scale],
        opset=21,
        ir=10,
    )
    assert "int4 came with version 10" in refused(tmp_path, proto, None, 9).message


def test_nothing_to_change_is_said(tmp_path):
    assert refused(tmp_path, relu(), 17).code == "convert.unneeded"
    assert refused(tmp_path, relu()).code == "convert.unneeded"


@pytest.mark.parametrize("opset", [0, -1, NEWEST + 1, 10**9])
def test_an_opset_that_nobody_knows_is_refused(tmp_path, opset):
    assert refused(tmp_path, relu(), opset).code == "convert.failed"


def test_a_model_of_an_opset_beyond_the_package_is_refused(tmp_path):
    error = refused(tmp_path, relu(opset=NEWEST + 1), 17)
    assert str(NEWEST) in error.message
    assert "Upgrade" in error.hint


@pytest.mark.parametrize(("proto", "opset", "operator"), [(gelu, 17, "Gelu"), (resize, 11, "Resize")])
def test_an_operator_without_a_way_is_named(tmp_path, proto, opset, operator):
    error = refused(tmp_path, proto(), opset)
    assert error.code == "convert.failed"
    assert operator in error.message
    assert "/project/" not in error.message


def test_an_unknown_operator_is_named(tmp_path):
    proto = model([helper.make_node("NoSuch", ["x"], ["y"])], [value("x")], [value("y")])
    assert "NoSuch" in refused(tmp_path, proto, 18).message


def test_other_domains_are_left_alone(tmp_path):
    nodes = [
        helper.make_node("Odd", ["x"], ["z"], domain="com.example"),
        helper.make_node("Squeeze", ["z"], ["y"], axes=[0]),
    ]
    proto = model(nodes, [value("x", (1, 3))], [value("y", None)], opset=11, domains=[("com.example", 7)])
    _, after = convert(tmp_path, proto, 13)
    assert {(entry.domain, entry.version) for entry in after.opset_import} == {("", 13), ("com.example", 7)}
    assert after.graph.node[0].op_type == "Odd"


def test_operators_in_subgraphs_are_translated(tmp_path):
    _, after = convert(tmp_path, branches(), 13)
    for attribute in after.graph.node[-1].attribute:
        assert len(attribute.g.node[-1].input) == 2
    assert outputs(after, c=np.array(True), x=ROW)[0].shape == (3,)


def test_functions_whose_operators_stay_the_same_stay_functions(tmp_path):
    _, after = convert(tmp_path, function("Relu", opset=21), 16)
    assert [(entry.domain, entry.version) for entry in after.functions[0].opset_import] == [("", 16)]
    np.testing.assert_array_equal(outputs(after, x=ROW)[0], np.maximum(ROW, 0))


def test_functions_with_operators_that_differ_are_put_in_place_and_translated(tmp_path):
    _, after = convert(tmp_path, function(axes=[0]), 13)
    assert not after.functions
    np.testing.assert_array_equal(outputs(after, x=ROW)[0], ROW[0])


def test_a_function_of_a_newer_opset_than_its_model_is_brought_down_with_it(tmp_path):
    conversion, after = convert(tmp_path, function("Relu", opset=17, function_opset=NEWEST), 17)
    assert conversion.opset == 17
    assert after.functions[0].opset_import[0].version == 17


def test_functions_stay_when_only_the_graph_is_translated(tmp_path):
    proto = function("Tanh", opset=11)
    proto.graph.node.append(helper.make_node("Squeeze", ["y"], ["flat"], axes=[0]))
    proto.graph.output[0].name = "flat"
    proto.graph.value_info.append(value("y", (1, 3)))
    _, after = convert(tmp_path, proto, 12)
    assert len(after.functions) == 1


def test_large_weights_and_constants_survive_the_converter(tmp_path):
    proto = squeeze(weights=2000)
    big = numpy_helper.from_array(np.arange(2000, dtype=np.float32).reshape(1, 2000), "k")
    proto.graph.node.insert(0, helper.make_node("Constant", [], ["k"], value=big))
    proto.graph.node.insert(1, helper.make_node("Add", ["x", "k"], ["xx"]))
    proto.graph.node[2].input[0] = "xx"
    _, after = convert(tmp_path, proto, 21)
    row = np.ones((1, 2000), np.float32)
    np.testing.assert_array_equal(outputs(after, x=row), outputs(proto, x=row))


def test_sparse_weights_stay_sparse(tmp_path):
    _, after = convert(tmp_path, sparse(), 13)
    assert after.graph.sparse_initializer[0].values.name == "s"
    assert not after.graph.initializer or all(tensor.name != "s" for tensor in after.graph.initializer)


@pytest.mark.parametrize("elements", [3, 2000])
def test_external_data_goes_beside_the_target(tmp_path, elements):
    source = external(tmp_path / "from", elements=elements)
    (tmp_path / "to").mkdir()
    target = tmp_path / "to" / "converted.onnx"
    convert_file(source, target, 13)
    row = np.ones((1, elements), np.float32)
    np.testing.assert_array_equal(evaluate(target, {"x": row})["y"], evaluate(source, {"x": row})["y"])
    assert (tmp_path / "to" / "weights.bin").read_bytes() == (tmp_path / "from" / "weights.bin").read_bytes()


def test_a_target_with_the_name_of_a_data_file_is_refused(tmp_path):
    source = external(tmp_path / "from", data="converted.onnx")
    with pytest.raises(ModelError, match="called"):
        convert_file(source, tmp_path / "converted.onnx", 13)


def test_external_data_outside_the_folder_is_never_followed(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(12))
    source = external(tmp_path / "from", elements=3)
    proto = onnx.load(source, load_external_data=False)
    proto.graph.initializer[0].external_data[0].value = "../secret"
    save(source, proto)
    for act in (lambda: convert_file(source, tmp_path / "out.onnx", 13), lambda: evaluate(source, {"x": ROW})):
        with pytest.raises(ModelError) as caught:
            act()
        assert caught.value.code == "model.external_escape"


def test_the_reference_evaluator_says_in_one_sentence_what_it_lacks(tmp_path):
    with pytest.raises(ModelError) as caught:
        evaluate(save(tmp_path / "m.onnx", upsample()), {"x": np.ones((1, 1, 2, 2), np.float32)})
    assert caught.value.code == "reference.failed"
    assert "\n" not in caught.value.message


# ---- what the converter drops or gets wrong ---------------------------------------------------------------------------


def test_metadata_denotations_and_open_dims_stay_as_they_were(tmp_path):
    proto = squeeze()
    proto.ir_version = 10
    proto.graph.metadata_props.add(key="a", value="b")
    source = proto.graph.input[0]
    source.metadata_props.add(key="q", value="r")
    source.type.denotation = "IMAGE"
    source.type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    proto.graph.initializer[0].doc_string = "a weight"
    proto.graph.output[0].CopyFrom(value("y", (None,)))
    _conversion, result = convert(tmp_path, proto, 13)
    assert {item.key: item.value for item in result.graph.metadata_props} == {"a": "b"}
    assert result.graph.input[0] == source
    assert result.graph.output[0] == proto.graph.output[0]
    assert {tensor.name: tensor.doc_string for tensor in result.graph.initializer}["w"] == "a weight"
    assert "unk__" not in str(result)


def test_a_model_without_operators_of_the_standard_domain_has_no_opset_to_convert(tmp_path):
    node = helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")
    proto = model([node], [value("x")], [value("y")], domains=[("com.microsoft", 1)])
    del proto.opset_import[0]
    error = refused(tmp_path, proto, 21)
    assert (error.code, "no operator of ai.onnx" in error.message) == ("convert.unneeded", True)
    conversion, result = convert(tmp_path, proto, 21, ir=9)
    assert (conversion.opset_before, conversion.opset, result.ir_version) == (1, 1, 9)
    assert [entry.domain for entry in result.opset_import] == ["com.microsoft"]


def test_an_operator_with_another_meaning_is_never_kept_as_it_is(tmp_path):
    nodes = [helper.make_node("PRelu", ["x", "s"], ["z"]), helper.make_node("Relu", ["z"], ["y"])]
    slope = constant("s", np.array([0.1, 0.2], np.float32))
    proto = model(nodes, [value("x", (1, 2, 2, 2))], [value("y", None)], [slope], opset=6, ir=4)
    assert not hide_alike(proto, 9, "PRelu")
    assert hide_alike(proto, 9, "Relu")
    assert [node.domain for node in proto.graph.node] == ["", HIDDEN], "only the operator that was named"
    scale, bias = constant("s", np.ones(2, np.float32)), constant("b", np.zeros(2, np.float32))
    group = model(
        [helper.make_node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2)],
        [value("x", (1, 4, 2, 2))], [value("y", (1, 4, 2, 2))], [scale, bias], opset=18,
    )  # fmt: skip
    error = refused(tmp_path, group, 21)
    assert error.code == "convert.failed"
    assert "GroupNormalization" in error.message


@pytest.mark.parametrize(("axis", "is_kept"), [(None, True), (-1, True), (2, True), (1, False), (-2, False)])
def test_a_softmax_goes_back_before_opset_13_only_along_the_last_axis(tmp_path, axis, is_kept):
    node = helper.make_node("Softmax", ["x"], ["y"], **({} if axis is None else {"axis": axis}))
    proto = model([node], [value("x", (2, 3, 4))], [value("y", (2, 3, 4))], opset=13)
    if not is_kept:
        error = refused(tmp_path, proto, 12)
        assert error.code == "convert.failed"
        assert "Softmax" in error.message
        return
    _conversion, result = convert(tmp_path, proto, 12)
    inputs = {"x": np.random.default_rng(0).random((2, 3, 4), np.float32)}
    expected = ReferenceEvaluator(proto).run(None, inputs)[0]
    np.testing.assert_allclose(ReferenceEvaluator(result).run(None, inputs)[0], expected, rtol=1e-5)
