"""Large files: beyond what protobuf takes, read in bounded memory, and page by page."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from graph_builders import external_tensor, matmul_with, model, relu_model, save, value, weight
from onnx import TensorProto, helper

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.graph import layer_index, reading
from quickserveml_tui.graph.facts import read_facts, read_totals
from quickserveml_tui.graph.header import read_header
from quickserveml_tui.graph.layers import read_layers
from quickserveml_tui.graph.protobuf import BYTES, varint
from quickserveml_tui.graph.reading import read_model
from quickserveml_tui.graph.stored import stored_bytes
from quickserveml_tui.graph.tensors import inline_payload

ROOT = Path(__file__).resolve().parents[2]
WIDE = 2**14
ROWS = 36_000  # times 64 KiB of float32: 2.2 GiB


@pytest.fixture
def beyond_two_gib(tmp_path):
    """A model with one weight of 2.2 GiB inside, a hole on the disk but for its last value."""
    path = tmp_path / "large.onnx"
    size = WIDE * ROWS * 4
    whole = model([helper.make_node("MatMul", ["x", "w"], ["y"])], inputs=[value("x", ("batch", ROWS))],
                  outputs=[value("y", ("batch", WIDE))])  # fmt: skip
    graph = whole.graph.SerializeToString()
    whole.ClearField("graph")
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[ROWS, WIDE]).SerializeToString()
    tensor_head = varint(9 << 3 | BYTES) + varint(size)
    initializer = varint(5 << 3 | BYTES) + varint(len(tensor) + len(tensor_head) + size) + tensor + tensor_head
    graph_head = varint(7 << 3 | BYTES) + varint(len(graph) + len(initializer) + size)
    try:
        with path.open("wb") as file:
            file.write(whole.SerializeToString() + graph_head + graph + initializer)
            file.seek(size - 4, os.SEEK_CUR)
            file.write(np.float32(1.5).tobytes())
    except OSError as error:
        pytest.skip(f"no such large file here: {error}")
    if path.stat().st_blocks * 512 > 2**26:
        pytest.skip("this file system has no sparse files")
    return path


def test_a_file_beyond_two_gib_has_header_facts_and_layers(beyond_two_gib):
    header = read_header(beyond_two_gib)
    assert header.file_bytes == header.size_bytes == beyond_two_gib.stat().st_size > 2**31
    assert (header.inputs[0].shape, header.initializers, header.nodes) == (("batch", ROWS), 1, 1)
    facts = read_facts(beyond_two_gib)
    assert (facts.params, facts.macs) == (WIDE * ROWS, WIDE * ROWS)
    assert any("2 GiB" in warning for warning in facts.warnings)
    assert read_layers(beyond_two_gib).rows[0].output_shape == ("batch", WIDE)


def test_the_weight_of_a_file_beyond_two_gib_is_found_through_its_reference(beyond_two_gib):
    (tensor,) = read_model(beyond_two_gib).graph.initializer
    (chunk,) = inline_payload(tensor).chunks
    with reading.map_file(beyond_two_gib) as data:
        end = stored_bytes(tensor, data)[-4:]
        assert np.frombuffer(end, "<f4")[0] == 1.5
        assert chunk.offset + chunk.length == len(data)
        del end


READ_ALL = """
import sys
from pathlib import Path
from quickserveml_tui.graph.facts import read_facts
from quickserveml_tui.graph.header import read_header
from quickserveml_tui.graph.layers import read_layers
def anonymous_kb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1])
small, large = map(Path, sys.argv[1:])
for read in (read_header, read_facts, read_layers):
    read(small)
before = anonymous_kb()
for read in (read_header, read_facts, read_layers):
    read(large)
print(anonymous_kb() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_file_beyond_two_gib_takes_no_memory_to_speak_of(beyond_two_gib, tmp_path):
    small = save(relu_model(), tmp_path, "small.onnx")
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, str(small), str(beyond_two_gib)],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert int(done.stdout) < 30_000


def chain(count):
    """Relu after Relu, with a branch in the middle."""
    branch = helper.make_graph([helper.make_node("Neg", [f"v{count // 2 - 1}"], ["o"])], "b", [], [value("o", None)])
    nodes = []
    for index in range(count):
        source, made = f"v{index - 1}" if index else "x", "y" if index == count - 1 else f"v{index}"
        if index == count // 2:
            nodes.append(helper.make_node("If", ["flag"], [made], then_branch=branch, else_branch=branch))
        else:
            nodes.append(helper.make_node("Relu", [source], [made], name=f"n{index}"))
    return model(nodes, inputs=[value("x"), value("flag", (), TensorProto.BOOL)])


def test_pages_of_a_long_graph_are_the_whole_and_are_inferred_once(tmp_path, monkeypatch):
    layer_index.forget_indexes()
    path = save(chain(400), tmp_path)
    whole = read_layers(path)
    assert whole.total == 402
    calls = []
    monkeypatch.setattr(layer_index, "read_sketch", calls.append)
    monkeypatch.setattr(layer_index, "check_sketch", calls.append)
    for size in (1, 7, 100, 401):
        pages = [read_layers(path, offset, size) for offset in range(0, 402, size)]
        assert [row for page in pages for row in page.rows] == list(whole.rows)
    assert read_layers(path, 402, 10).rows == ()
    assert calls == []


def test_quick_rows_are_the_whole_ones_without_what_takes_inference(tmp_path, monkeypatch):
    layer_index.forget_indexes()
    path = save(chain(400), tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(layer_index.shapes, "infer", None)
        quick = read_layers(path, 100, 200, shapes=False)
    whole = read_layers(path, 100, 200)
    assert (quick.shapes, whole.shapes, quick.total) == (False, True, whole.total)
    bare = [
        dataclasses.replace(row, output_shape=None, output_dtype="", macs=None, output_bytes=None) for row in whole.rows
    ]
    assert list(quick.rows) == bare != list(whole.rows)
    assert read_layers(path, 100, 200, shapes=False) == whole, "what is known by now is told"


def test_quick_rows_of_a_graph_that_is_refused_do_not_make_it_sound(tmp_path):
    path = save(model([helper.make_node("Add", ["x", "ghost"], ["y"])]), tmp_path)
    for _ in range(2):
        assert read_layers(path, shapes=False).rows[0].inputs == ("x", "ghost")
        with pytest.raises(ModelError, match="nothing makes"):
            read_layers(path)


def test_a_changed_file_is_indexed_anew(tmp_path):
    path = save(chain(10), tmp_path)
    assert read_layers(path).total == 12
    path.write_bytes(relu_model().SerializeToString())
    assert read_layers(path).total == 1


def test_few_indexes_are_kept(tmp_path, monkeypatch):
    layer_index.forget_indexes()
    for number in range(5):
        read_layers(save(chain(10), tmp_path, f"{number}.onnx"))
    assert len(layer_index._KEPT._indexes) == layer_index.MAX_KEPT_FILES
    monkeypatch.setattr(layer_index, "MAX_KEPT_NODES", 5)
    read_layers(save(chain(10), tmp_path, "last.onnx"))
    assert not layer_index._KEPT._indexes


def test_totals_are_the_facts_without_what_takes_inference(tmp_path):
    path = save(matmul_with(weight("w", np.ones((4, 4), np.float32))), tmp_path)
    totals, facts = read_totals(path), read_facts(path)
    assert totals.macs is None
    assert (totals.params, totals.op_types, totals.inputs, totals.size_bytes) == (
        facts.params, facts.op_types, facts.inputs, facts.size_bytes)  # fmt: skip


def test_totals_of_many_nodes_take_little_memory(tmp_path):
    path = save(chain(20_000), tmp_path)
    read_totals(path)
    tracemalloc.start()
    try:
        read_totals(path)
        assert tracemalloc.get_traced_memory()[1] < 20_000 * 800, "bytes a node at the most"
    finally:
        tracemalloc.stop()


def with_data_files(folder, *names):
    tensors = [external_tensor(f"w{at}", name) for at, name in enumerate(names)]
    nodes = [helper.make_node("Sum", ["x", *(tensor.name for tensor in tensors)], ["y"])]
    return save(model(nodes, initializers=tensors), folder)


def test_a_header_counts_data_files_and_those_bytes_that_are_there(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"\0" * 64)
    path = with_data_files(tmp_path, "a.bin", "a.bin", "missing.bin", "../../etc/passwd")
    header = read_header(path)
    assert header.external_files == 3
    assert header.size_bytes == path.stat().st_size + 64
    assert header.file_bytes == path.stat().st_size


def test_a_header_finds_data_files_in_attributes_subgraphs_and_functions(tmp_path):
    def constant(location):
        return helper.make_node("Constant", [], ["c"], value=external_tensor("t", location))

    branch = helper.make_graph([constant("branch.bin")], "b", [], [value("c")])
    function = helper.make_function("own", "F", ["p"], ["c"], [constant("function.bin")], [helper.make_opsetid("", 17)])
    nodes = [
        helper.make_node("If", ["flag"], ["h"], then_branch=branch, else_branch=branch),
        helper.make_node("F", ["h"], ["y"], domain="own"),
        helper.make_node("Constant", [], ["d"], value=external_tensor("t", "main.bin")),
    ]
    inputs = [value("flag", (), TensorProto.BOOL)]
    path = save(model(nodes, inputs=inputs, functions=[function], domains=("own",)), tmp_path)
    assert read_header(path).external_files == 3


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "model.empty"), (b"PK\x03\x04" + b"\0" * 60, "model.not_onnx"), (relu_model().SerializeToString()[:-5], "model.truncated")],
)  # fmt: skip
def test_a_header_of_what_is_no_model_is_refused_as_a_model_is(data, code, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError) as caught:
        read_header(path)
    assert caught.value.code == code


def test_a_header_is_told_of_models_that_are_refused_later(tmp_path):
    broken = model([helper.make_node("Add", ["x", "nowhere"], ["y"])])
    path = save(broken, tmp_path)
    assert read_header(path).nodes == 1
    with pytest.raises(ModelError):
        read_facts(path)


PACKED = {TensorProto.INT4: (5, 3, 3), TensorProto.UINT4: (5, 3, 3), TensorProto.FLOAT4E2M1: (5, 3, 3),
          TensorProto.INT2: (5, 2, 2), TensorProto.UINT2: (5, 2, 2), TensorProto.FLOAT6E2M3: (5, 4, 5),
          TensorProto.FLOAT6E3M2: (5, 4, 5), TensorProto.FLOAT8E4M3FN: (5, 5, 5),
          TensorProto.FLOAT8E8M0: (5, 5, 5), TensorProto.BFLOAT16: (5, 10, 5)}  # fmt: skip
"""Elements, raw bytes and typed values that hold them."""


@pytest.mark.parametrize("dtype", PACKED, ids=TensorProto.DataType.Name)
def test_packed_types_are_counted_and_checked_by_their_own_rules(dtype, tmp_path):
    count, size, entries = PACKED[dtype]

    def facts(**data):
        tensor = TensorProto(name="w", data_type=dtype, dims=[count], **data)
        return read_totals(save(model([helper.make_node("Cast", ["w"], ["y"], to=1)], initializers=[tensor]), tmp_path))

    assert facts(raw_data=b"\1" * size).params == count
    assert facts(int32_data=[1] * entries).params == count
    for data in (
        {"raw_data": b"\1" * (size + 1)},
        {"int32_data": [1] * (entries + 1)},
        {"int32_data": [1] * (entries - 1)},
    ):
        with pytest.raises(ModelError, match="by its shape"):
            facts(**data)


def test_files_are_the_same_however_large_they_are_taken_for(tmp_path, monkeypatch):
    sparse = helper.make_sparse_tensor(
        weight("s", np.ones(600, np.float32)), weight("i", np.arange(600, dtype=np.int64)), [64, 64]
    )
    nodes = [
        helper.make_node("Constant", [], ["c"], sparse_value=sparse),
        helper.make_node("MatMul", ["x", "c"], ["h"]),
        helper.make_node("MatMul", ["h", "w"], ["y"]),
    ]
    nan = np.full((64, 32), np.nan, np.float32)
    proto = model(
        nodes, inputs=[value("x", ("batch", 64))], outputs=[value("y", None)], initializers=[weight("w", nan)]
    )
    path = save(proto, tmp_path)
    facts, layers, header = read_facts(path), read_layers(path), read_header(path)
    assert any("NaN" in warning for warning in facts.warnings)
    assert facts.params == 600 + 64 * 32
    assert layers.rows[2].output_shape == ("batch", 32)
    layer_index.forget_indexes()
    monkeypatch.setattr(reading, "MIN_FILE_BYTES", 0)
    assert (read_facts(path), read_layers(path), read_header(path)) == (facts, layers, header)


def test_invalid_utf8_in_names_is_read(tmp_path):
    data = (
        relu_model()
        .SerializeToString()
        .replace(b"\n\x01x\x12\x01y", b"\n\x01\xff\x12\x01y")
        .replace(b"\n\x01x\x12", b"\n\x01\xff\x12")
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    assert onnx.ModelProto.FromString(data).graph.node[0].input[0] != "x"
    assert read_totals(path).nodes == 1
    assert read_layers(path).rows[0].inputs == ("\ufffd",)
