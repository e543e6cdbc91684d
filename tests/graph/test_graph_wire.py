"""Any nesting of tensors is skimmed without loss, read back through its references, and bounded."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from index_walks import nodes, tensors
from onnx import AttributeProto, GraphProto, NodeProto, SparseTensorProto, TensorProto, TrainingInfoProto
from test_graph_index import check_columns, check_skeleton

from quickserveml_tui.graph import columns, inline, skim
from quickserveml_tui.graph.columns import NodeColumns, read_fields
from quickserveml_tui.graph.protobuf import FIXED32, FIXED64, VARINT, WireError, field, varint
from quickserveml_tui.graph.skim import CHILDREN
from quickserveml_tui.graph.tensors import inline_payload

TENSOR_FIELDS = {4: ("float_data", FIXED32), 5: ("int32_data", VARINT), 7: ("int64_data", VARINT),
                 10: ("double_data", FIXED64), 11: ("uint64_data", VARINT)}  # fmt: skip
DTYPES = {4: TensorProto.FLOAT, 5: TensorProto.INT32, 7: TensorProto.INT64, 10: TensorProto.DOUBLE,
          11: TensorProto.UINT64, 9: TensorProto.UINT8}  # fmt: skip
VALUES = {4: st.floats(width=32, allow_nan=False), 10: st.floats(allow_nan=False), 5: st.integers(-(2**31), 2**31 - 1),
          7: st.integers(-(2**63), 2**63 - 1), 11: st.integers(0, 2**64 - 1)}  # fmt: skip


def encoded(number, value):
    if number == 4:
        return np.float32(value).tobytes()
    if number == 10:
        return np.float64(value).tobytes()
    return varint(value % 2**64)


@st.composite
def tensor_messages(draw):
    """A serialised TensorProto with its data raw, packed, unpacked, or in pieces of both kinds."""
    number = draw(st.sampled_from(sorted(DTYPES)))
    if number == 9:
        data = draw(st.binary(max_size=40))
        count, body = len(data), field(9, b"overwritten") * draw(st.booleans()) + field(9, data)
    else:
        values = draw(st.lists(VALUES[number], max_size=12))
        count, body = len(values), b""
        while values:
            size = draw(st.integers(1, len(values)))
            part, values = [encoded(number, value) for value in values[:size]], values[size:]
            if draw(st.booleans()):
                body += field(number, b"".join(part))
            else:
                body += b"".join(varint(number << 3 | TENSOR_FIELDS[number][1]) + value for value in part)
            body += draw(st.sampled_from([b"", field(12, b"between")]))
    head = varint(1 << 3) + varint(count) + varint(2 << 3) + varint(DTYPES[number]) + field(8, b"t")
    return draw(st.sampled_from([head + body, body + head]))


def sparse_messages():
    return st.builds(lambda values, indices: field(1, values) + field(2, indices), tensor_messages(), tensor_messages())


def attributes(graphs):
    kinds = [(5, tensor_messages()), (10, tensor_messages()), (22, sparse_messages()), (23, sparse_messages()),
             (6, graphs), (11, graphs), (4, st.binary(max_size=30))]  # fmt: skip
    parts = [part.map(lambda data, number=number: field(number, data)) for number, part in kinds]
    return st.one_of(parts).map(lambda body: field(1, b"a") + body)


def node_messages(graphs):
    return st.builds(
        lambda inputs, found: (
            b"".join([*(field(1, name) for name in inputs), field(4, b"Op"), field(2, b"y")])
            + b"".join(field(5, attribute) for attribute in found)
        ),
        st.lists(st.sampled_from([b"", b"x", b"long name"]), max_size=3),
        st.lists(attributes(graphs), max_size=2),
    )


GRAPHS = st.recursive(
    st.lists(tensor_messages(), max_size=2).map(lambda found: b"".join(field(5, tensor) for tensor in found)),
    lambda graphs: st.builds(
        lambda own, weights, sparse: b"".join([*(field(1, node) for node in own), *(field(5, t) for t in weights),
                                               *(field(15, item) for item in sparse)]),
        st.lists(node_messages(graphs), max_size=3),
        st.lists(tensor_messages(), max_size=2),
        st.lists(sparse_messages(), max_size=1),
    ),
    max_leaves=4,
)  # fmt: skip
FUNCTIONS = st.builds(
    lambda own, found: b"".join([*(field(7, node) for node in own), *(field(11, item) for item in found)]),
    st.lists(node_messages(GRAPHS), max_size=2),
    st.lists(attributes(GRAPHS), max_size=1),
)
MODELS = st.builds(
    lambda graph, functions, training: varint(1 << 3) + varint(8) + field(7, graph)
    + b"".join(field(25, item) for item in functions) + b"".join(field(20, field(1, item)) for item in training),
    GRAPHS, st.lists(FUNCTIONS, max_size=2), st.lists(GRAPHS, max_size=1),
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def everything_is_large():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(skim, "KEPT_BYTES", 0)
        patch.setattr(columns, "FEW", 1)
        yield


@settings(max_examples=150, deadline=None)
@given(MODELS)
def test_tensors_of_every_form_at_every_place_are_read_back_through_their_references(data):
    check_skeleton(data)
    check_columns(data)


@settings(max_examples=150, deadline=None)
@given(MODELS, st.data())
def test_damaged_models_are_skimmed_to_what_a_parser_takes_or_left_to_it(data, draw):
    at = draw.draw(st.integers(0, len(data) - 1))
    damaged = data[:at] + draw.draw(st.binary(max_size=3)) + data[at + draw.draw(st.integers(0, 3)) :]
    short = bytes(skim.skim(memoryview(damaged)))
    try:
        whole = onnx.ModelProto.FromString(damaged)
    except Exception:
        return
    found = onnx.ModelProto.FromString(short)
    assert [node.op_type for node in nodes(found)] == [node.op_type for node in nodes(whole)]
    assert [tensor.dims for tensor in tensors(found)] == [tensor.dims for tensor in tensors(whole)]


@settings(max_examples=200, deadline=None)
@example([b"\x9d\x80\x80\x80\x10\x00\x00\x00\x00"])  # a field number that no file may have
@given(st.lists(st.binary(max_size=24), min_size=1, max_size=5))
def test_columns_take_exactly_what_walks_over_the_wire_format(parts):
    ends = np.cumsum([len(part) for part in parts])
    begins = ends - [len(part) for part in parts]
    outcomes = []
    for few in (1, 1000):
        columns.FEW = few
        try:
            found = read_fields(b"".join(parts), begins, ends, range(1, 30))
            outcomes.append(
                sorted(
                    zip(
                        found.owner.tolist(),
                        found.number.tolist(),
                        found.begin.tolist(),
                        found.end.tolist(),
                        strict=True,
                    )
                )
            )
        except WireError:
            outcomes.append("damaged")
    assert outcomes[0] == outcomes[1]


def test_the_table_of_fields_leads_to_every_tensor_of_the_format():
    known = {"GraphProto": GraphProto, "NodeProto": NodeProto, "AttributeProto": AttributeProto,
             "SparseTensorProto": SparseTensorProto, "TrainingInfoProto": TrainingInfoProto, "TensorProto": TensorProto,
             "FunctionProto": onnx.FunctionProto}  # fmt: skip

    def holds(descriptor, seen=frozenset()):
        if descriptor.name == "TensorProto":
            return True
        inner = [f.message_type for f in descriptor.fields if f.message_type and f.message_type.name not in seen]
        return any(holds(item, seen | {descriptor.name}) for item in inner)

    for name, children in CHILDREN.items():
        if name == "TensorProto":
            continue
        descriptor = getattr(onnx, name).DESCRIPTOR
        wanted = {f.number: f.message_type.name for f in descriptor.fields if f.message_type and holds(f.message_type)}
        assert children == wanted
        assert set(wanted.values()) <= set(known)


def test_every_data_field_of_a_tensor_is_known():
    fields = {f.number: f.name for f in TensorProto.DESCRIPTOR.fields if f.name.endswith("_data")}
    del fields[13]
    assert {number: form.name for number, form in inline.FORMS.items()} == fields


def test_a_long_run_of_unpacked_values_counts_as_few_fields(monkeypatch):
    monkeypatch.setattr(skim, "MAX_FIELDS", 100)
    values = np.arange(300_000, dtype=np.float32)
    run = b"".join(varint(4 << 3 | FIXED32) + value.tobytes() for value in values)
    head = varint(1 << 3) + varint(len(values)) + varint(2 << 3) + varint(TensorProto.FLOAT)
    data = varint(1 << 3) + varint(8) + field(7, field(5, head + run))
    (tensor,) = tensors(onnx.ModelProto.FromString(bytes(skim.skim(memoryview(data)))))
    payload = inline_payload(tensor)
    assert payload.values == len(values)
    assert inline.numbers(memoryview(data), payload).tolist() == values.tolist()


def test_nesting_beyond_the_parsers_limit_takes_no_recursion():
    graph = b""
    for _ in range(3_000):
        graph = field(1, field(5, field(6, graph)))
    data = memoryview(varint(1 << 3) + varint(8) + field(7, graph))
    assert skim.skim(data) is data


def test_a_node_with_many_fields_is_read_in_order():
    names = [f"n{index}".encode() for index in range(5_000)]
    many = b"".join(field(1, name) for name in names)
    read, owners, slots = NodeColumns([field(1, b"a"), many, field(1, b"b")]).slots(1)
    assert read == [b"a", *names, b"b"]
    assert owners.tolist() == [0, *[1] * 5_000, 2]
    assert slots.tolist() == [0, *range(5_000), 0]
