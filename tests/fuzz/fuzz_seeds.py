"""What the fuzzers start from: small models of the `onnx` package, generated ones, other kinds of files."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from fuzz_fields import BYTES, FIXED32, VARINT, Field, join, make, parse, varint
from fuzz_mutations import MAX_INPUT_BYTES
from onnx import TensorProto, helper, numpy_helper

WEIGHTS_NAME, WEIGHTS_BYTES = "weights.bin", 4096
"""The file that external data of the generated models lies in."""

_FLOAT = TensorProto.FLOAT
_OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1), helper.make_opsetid("ai.onnx.ml", 3)]


def _value(name, shape=("batch", 4), dtype=_FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def _model(nodes, inputs=None, outputs=None, initializers=(), functions=(), **graph):
    body = helper.make_graph(
        nodes, "main", inputs or [_value("x")], outputs or [_value("y")], list(initializers), **graph
    )
    return helper.make_model(body, opset_imports=_OPSETS, ir_version=8, functions=list(functions), producer_name="fuzz")


def _branch(name, depth=0):
    nodes = [helper.make_node("MatMul", ["x", f"w{name}"], ["o"])]
    if depth:
        inner = _branch(f"{name}i", depth - 1)
        nodes = [helper.make_node("If", ["flag"], ["o"], then_branch=inner, else_branch=inner)]
    weight = numpy_helper.from_array(np.ones((4, 4), np.float32), f"w{name}")
    return helper.make_graph(nodes, f"branch {name}", [], [_value("o", None)], [weight])


def _with_subgraphs():
    condition = [helper.make_node("If", ["flag"], ["y"], then_branch=_branch("a", 2), else_branch=_branch("b"))]
    loop_body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Relu", ["v"], ["r"])],
        "loop",
        [_value("i", (), TensorProto.INT64), _value("c", (), TensorProto.BOOL), _value("v")],
        [_value("d", (), TensorProto.BOOL), _value("r")],
    )
    loop = helper.make_node("Loop", ["n", "flag", "x"], ["l"], body=loop_body)
    inputs = [_value("x"), _value("flag", (), TensorProto.BOOL), _value("n", (), TensorProto.INT64)]
    return _model([loop, *condition], inputs)


def _with_functions():
    inner = helper.make_function(
        "own", "Inner", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    constant = helper.make_node("Constant", [], ["w"], value=helper.make_tensor("w", _FLOAT, (4, 4), [1.0] * 16))
    nodes = [
        constant,
        helper.make_node("MatMul", ["p", "w"], ["q"]),
        helper.make_node("Inner", ["q"], ["r"], domain="own"),
    ]
    outer = helper.make_function("own", "Outer", ["p"], ["r"], nodes, _OPSETS[:2], ["alpha"])
    call = helper.make_node("Outer", ["x"], ["y"], domain="own", alpha=1.5)
    return _model([call], functions=[inner, outer])


def _with_every_tensor():
    """Raw, typed, packed, sparse, external, text and sub-byte tensors."""
    external = TensorProto(name="e", data_type=_FLOAT, dims=(8, 8), data_location=TensorProto.EXTERNAL)
    for key, text in {"location": WEIGHTS_NAME, "offset": "256", "length": "256"}.items():
        external.external_data.add(key=key, value=text)
    typed = [
        helper.make_tensor(f"t{number}", number, (3,), [1, 2, 3])
        for number in (1, 2, 3, 5, 6, 7, 10, 11, 12, 13, 16, 17, 21, 22)
    ]
    texts = helper.make_tensor("s", TensorProto.STRING, (2,), [b"one", b"two"])
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.ones(3, np.float32), "sp"), numpy_helper.from_array(np.arange(3), "at"), (4, 4)
    )
    raw = numpy_helper.from_array(np.ones((16, 16), np.float32), "raw")
    filled = helper.make_node("ConstantOfShape", ["shape"], ["f"], value=helper.make_tensor("v", 7, (1,), [3]))
    shape = helper.make_tensor("shape", TensorProto.INT64, (2,), [4, 4])
    constants = [
        helper.make_node("Constant", [], ["c1"], value_ints=[1, 2, 3]),
        helper.make_node("Constant", [], ["c2"], value_strings=["a", "b"]),
        helper.make_node("Constant", [], ["c3"], sparse_value=sparse),
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    initializers = [external, *typed, texts, raw, shape]
    return _model([filled, *constants], initializers=initializers, sparse_initializer=[sparse])


def _with_counted_work():
    """Operators whose work is counted, with shapes that are known."""
    ones = {
        "k": (4, 3, 3, 3), "t": (4, 2, 3, 3), "g": (512, 6), "m": (6, 5), "wl": (1, 12, 5), "rl": (1, 12, 3),
        "wg": (1, 9, 5), "rg": (1, 9, 3),
    }  # fmt: skip
    weights = [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in ones.items()]
    weights.append(helper.make_tensor("shape", TensorProto.INT64, (3,), [1, 1, -1]))
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["a", "t"], ["b"], pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["a"], ["c"]),
        helper.make_node("Gemm", ["c", "g"], ["d"], alpha=0.5),
        helper.make_node("MatMul", ["d", "m"], ["e"]),
        helper.make_node("Reshape", ["e", "shape"], ["f"]),
        helper.make_node("LSTM", ["f", "wl", "rl"], ["h"], hidden_size=3),
        helper.make_node("GRU", ["f", "wg", "rg"], ["i"], hidden_size=3),
        helper.make_node("Einsum", ["d", "m"], ["y"], equation="ij,jk->ik"),
    ]
    return _model(nodes, [_value("x", ("batch", 3, 8, 16))], [_value("y", None), _value("h", None)], weights)


def _with_every_type():
    tensor = helper.make_tensor_type_proto(_FLOAT, ("batch", None, 3))
    kinds = {
        "sequence": helper.make_sequence_type_proto(tensor),
        "optional": helper.make_optional_type_proto(helper.make_sequence_type_proto(tensor)),
        "map": helper.make_map_type_proto(TensorProto.INT64, tensor),
        "sparse": helper.make_sparse_tensor_type_proto(_FLOAT, ("n", 4)),
        "scalar": helper.make_tensor_type_proto(TensorProto.STRING, ()),
        "unranked": helper.make_tensor_type_proto(TensorProto.BFLOAT16, None),
    }
    inputs = [_value("x"), *(helper.make_value_info(name, kind) for name, kind in kinds.items())]
    model = _model([helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[0.0], scale=[1.0])], inputs)
    helper.set_model_props(model, {"author": "nobody", "notes": "x[/]y \x1b[31m"})
    model.graph.doc_string = "What it does."
    model.graph.node[0].metadata_props.add(key="k", value="v")
    model.graph.quantization_annotation.add(tensor_name="x").quant_parameter_tensor_names.add(key="SCALE", value="s")
    return model


def _with_training():
    model = _model([helper.make_node("Relu", ["x"], ["y"])])
    training = model.training_info.add()
    training.initialization.CopyFrom(_branch("t"))
    training.algorithm.CopyFrom(_branch("u", 1))
    training.initialization_binding.add(key="w", value="v")
    return model


def _unusual_encodings() -> list[bytes]:
    """Models that no writer writes so, but every parser reads: data in pieces, messages in parts, long tags."""
    name, kind = make(8, BYTES, b"u"), make(2, VARINT, 1)
    dims = (make(1, VARINT, 2), make(1, VARINT, 4))
    first, second = (struct.pack("<8f", *range(start, start + 8)) for start in (0, 8))
    raw, other_raw = make(9, BYTES, first), make(9, BYTES, second)
    packed, other_packed = make(4, BYTES, first), make(4, BYTES, second)
    loose = tuple(make(4, FIXED32, first[at : at + 4]) for at in range(0, 32, 4))
    long_tags = tuple(Field(4, FIXED32, b"", "", b"\xa5\x00" + field.encoded[1:]) for field in loose)
    numbers = make(7, BYTES, b"".join(varint(number) for number in (1, 300, 2**64 - 1, 2**63, 5, 6, 7, 8)))
    loose_numbers = tuple(make(5, VARINT, number) for number in (1, 300, 2**64 - 1, 2**32 - 1, 5, 6, 7, 8))
    elsewhere, location = make(14, VARINT, 1), make(13, BYTES, make(1, BYTES, b"location").encoded)
    head = (name, kind, *dims)
    tensors: list[tuple[Field, ...]] = [
        (*head, raw, other_raw), (*head, packed, other_packed), (*head, *loose),
        (*head, *loose[:4], make(8, BYTES, b"v"), *loose[4:]), (*head, *long_tags), (*head, packed, *loose),
        (name, make(2, VARINT, 7), *dims, numbers), (name, make(2, VARINT, 6), *dims, *loose_numbers),
        (*head, raw, packed), (*head, raw, elsewhere), (*head, raw, elsewhere, location), (*head, elsewhere, raw),
        (name, make(2, VARINT, 8), *dims, *(make(6, BYTES, b"text" * count) for count in range(8))),
    ]  # fmt: skip
    found: list[tuple[Field, ...]] = []
    for fields in tensors:
        tensor = make(5, BYTES, fields, "TensorProto")
        found += [(tensor,), (_constant(tensor),)]
    twice = [make(5, BYTES, (*head, data), "TensorProto") for data in (packed, other_packed)]
    sparse = [make(1, BYTES, tensor.value, "TensorProto") for tensor in twice]
    found += [(_constant(*twice),), (make(15, BYTES, tuple(sparse), "SparseTensorProto"),)]
    plain = parse(_model([helper.make_node("Relu", ["x"], ["y"])]).SerializeToString())
    assert plain is not None
    return [join((*plain, make(7, BYTES, extra, "GraphProto"))) for extra in found]  # a second part of the graph


def _constant(*values: Field) -> Field:
    attribute = (make(1, BYTES, b"value"), make(20, VARINT, 4), *values)
    parts = (make(2, BYTES, b"c"), make(4, BYTES, b"Constant"), make(5, BYTES, attribute, "AttributeProto"))
    return make(1, BYTES, parts, "NodeProto")


def _other_files() -> Iterator[bytes]:
    archive = io.BytesIO()
    np.savez(archive, x=np.ones(3, np.float32))
    yield archive.getvalue()
    checkpoint = io.BytesIO()
    with zipfile.ZipFile(checkpoint, "w") as out:
        out.writestr("archive/data.pkl", b"\x80\x02K\x01.")
    yield checkpoint.getvalue()
    yield b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    yield b"<!DOCTYPE html><html><body>404</body></html>"
    yield '{"name": "modèle"}'.encode()
    yield b"\x1c\x00\x00\x00TFL3" + bytes(40)
    yield b"\x40\0\0\0\0\0\0\0" + b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}' + bytes(14)
    yield helper.make_tensor("just a tensor", _FLOAT, (2,), [1.0, 2.0]).SerializeToString()


def generated() -> list[bytes]:
    """Serialised models that hold every kind of field once, and files that are no models."""
    models = [
        _model([helper.make_node("Relu", ["x"], ["y"])]),
        _with_subgraphs(),
        _with_functions(),
        _with_every_tensor(),
        _with_every_type(),
        _with_counted_work(),
        _with_training(),
    ]
    return [model.SerializeToString() for model in models] + _unusual_encodings() + list(_other_files())


def packaged(most_bytes: int = MAX_INPUT_BYTES) -> list[bytes]:
    """The small model files that the `onnx` package installs, smallest first."""
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data"
    found = {path.read_bytes() for path in folder.rglob("*.onnx") if path.stat().st_size <= most_bytes}
    return sorted(found, key=lambda data: (len(data), data))


def node_models() -> list[bytes]:
    """The models of the `onnx` package's node tests; takes about ten seconds."""
    from onnx.backend.test.case.node import collect_testcases

    models = (case.model.SerializeToString() for case in collect_testcases(None) if case.model is not None)
    return sorted({data for data in models if len(data) <= MAX_INPUT_BYTES})
