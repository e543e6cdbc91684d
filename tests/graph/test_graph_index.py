"""The index finds what `onnx.load` finds, on every model of the onnx package and on random ones."""

from __future__ import annotations

import onnx
import pytest
from index_walks import declared, inferred_shapes, nodes, raw, rows, tensors
from onnx_cases import model_files, node_cases

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.graph import reading, skim
from quickserveml_tui.graph.columns import DOMAIN, INPUT, NAME, OP_TYPE, OUTPUT, NodeColumns
from quickserveml_tui.graph.header import read_header
from quickserveml_tui.graph.layers import read_layers
from quickserveml_tui.graph.lean import ModelSketch
from quickserveml_tui.graph.stored import stored_bytes
from quickserveml_tui.graph.tensors import inline_payload

PARTS = 8


def check_skeleton(data: bytes) -> int:
    """Hold a skeleton against the whole model; returns how many tensors were left out of it."""
    file = memoryview(data)
    skeleton, whole = onnx.ModelProto.FromString(bytes(skim.skim(file))), onnx.ModelProto.FromString(data)
    assert [node.op_type for node in nodes(skeleton)] == [node.op_type for node in nodes(whole)]
    left_out = 0
    for short, real in zip(tensors(skeleton), tensors(whole), strict=True):
        assert (short.name, short.data_type, short.dims) == (real.name, real.data_type, real.dims)
        payload = inline_payload(short)
        if payload is None:
            assert short == real
            continue
        left_out += 1
        if (wanted := raw(real)) is not None:
            assert bytes(stored_bytes(short, file)) == wanted
        for name in ("external_data", "data_location", payload.form.name):
            short.ClearField(name)
            real.ClearField(name)
        assert short == real
    assert skeleton == whole, "everything else is as it was"
    return left_out


def check_columns(data: bytes) -> None:
    whole = onnx.ModelProto.FromString(data)
    columns = NodeColumns(ModelSketch.FromString(data).graph.node)
    assert len(columns) == len(whole.graph.node)
    for number, field in ((OP_TYPE, "op_type"), (NAME, "name"), (DOMAIN, "domain")):
        assert [value.decode() for value in columns.strings(number)] == [getattr(n, field) for n in whole.graph.node]
    for number, field in ((INPUT, "input"), (OUTPUT, "output")):
        values, owners, slots = columns.slots(number)
        found = [(int(o), int(s), v.decode()) for v, o, s in zip(values, owners, slots, strict=True)]
        names = [(at, s, v) for at, node in enumerate(whole.graph.node) for s, v in enumerate(getattr(node, field))]
        assert found == names
    bodied = {at for at, node in enumerate(whole.graph.node) if tensors(node) or len(nodes(node)) > 1}
    assert columns.with_bodies() >= bodied


def check_file(path, whole):
    header = read_header(path)
    weights = {tensor.name for tensor in whole.graph.initializer}
    inputs = [declared(info) for info in whole.graph.input if info.name not in weights]
    for specs, infos in ((header.inputs, inputs), (header.outputs, [declared(i) for i in whole.graph.output])):
        assert [spec.name for spec in specs] == [info[0] for info in infos]
        for spec, (_, dtype, dims) in zip(specs, infos, strict=True):
            assert dtype is None or (spec.dtype, spec.shape) == (dtype, dims)
    assert header.nodes == len(whole.graph.node)
    assert header.initializers == len(whole.graph.initializer) + len(whole.graph.sparse_initializer)
    assert header.functions == len(whole.functions)


def check_shapes(path, whole):
    page = read_layers(path)
    assert [row.op for row in page.rows] == list(rows(whole.graph))
    assert page.total == len(page.rows)
    try:
        shapes = inferred_shapes(whole)
    except Exception:
        return  # inference fails on the whole model as well
    known = {dim for info in (*whole.graph.input, *whole.graph.output) for dim in declared(info)[2] or ()}
    for row in page.rows:
        if row.depth == 0 and row.outputs and (wanted := shapes.get(row.outputs[0])) is not None:
            assert row.output_shape == tuple(dim if isinstance(dim, int) or dim in known else None for dim in wanted)


@pytest.fixture
def every_file_is_large(monkeypatch):
    monkeypatch.setattr(reading, "MIN_FILE_BYTES", 0)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.xdist_group("onnx node models")
def test_node_models_are_indexed_as_they_are_loaded(part, tmp_path, monkeypatch, every_file_is_large):
    path = tmp_path / "model.onnx"
    monkeypatch.setattr(skim, "KEPT_BYTES", 8)
    for case in node_cases()[part::PARTS]:
        check_skeleton(case.model)
        check_columns(case.model)
        path.write_bytes(case.model)
        check_file(path, onnx.ModelProto.FromString(case.model))


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.xdist_group("onnx node models")
def test_layers_of_node_models_have_the_shapes_that_inference_finds_on_the_whole_model(
    part, tmp_path, every_file_is_large
):
    path = tmp_path / "model.onnx"
    for case in node_cases()[part::PARTS]:
        path.write_bytes(case.model)
        whole = onnx.ModelProto.FromString(case.model)
        try:
            check_shapes(path, whole)
        except ModelError as error:
            raise AssertionError(case.name) from error


@pytest.mark.parametrize("part", range(PARTS))
def test_files_are_indexed_as_they_are_loaded(part, monkeypatch, every_file_is_large):
    for path in model_files()[part::PARTS]:
        data = path.read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(skim, "KEPT_BYTES", 8)
            check_skeleton(data)
            check_columns(data)
            whole = onnx.load(path, load_external_data=False)
            check_file(path, whole)
        check_shapes(path, whole)
