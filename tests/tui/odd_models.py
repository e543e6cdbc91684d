"""Good and hostile models of each family that the workbench has to live with, made by generators."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
MILLION = 1_000_000


def tensor(name: str, dtype: int = TensorProto.FLOAT, shape=("batch", 4)):
    return helper.make_tensor_value_info(name, dtype, shape)


def write(path: Path, nodes, inputs=(), outputs=(), initializers=(), name: str = "graph", **changes) -> Path:
    graph = helper.make_graph(list(nodes), name, list(inputs), list(outputs), list(initializers))
    model = helper.make_model(graph, opset_imports=OPSETS, ir_version=8)
    for field, value in changes.items():
        setattr(model, field, value)
    path.write_bytes(model.SerializeToString())
    return path


def unary(path: Path, op: str = "Neg", name: str = "", **changes) -> Path:
    node = helper.make_node(op, ["x"], ["y"], name=name or op.lower())
    return write(path, [node], [tensor("x")], [tensor("y")], **changes)


# ---- good: one of each kind of input and output


def linear(path: Path) -> Path:
    weight = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    return write(path, [helper.make_node("MatMul", ["x", "w"], ["y"])], [tensor("x")], [tensor("y")], [weight])


def sequence(path: Path) -> Path:
    out = helper.make_tensor_sequence_value_info("parts", TensorProto.FLOAT, None)
    return write(path, [helper.make_node("SequenceConstruct", ["x", "x"], ["parts"])], [tensor("x")], [out])


def table(path: Path) -> Path:
    """Class names with probabilities: a sequence of maps."""
    node = helper.make_node("ZipMap", ["x"], ["table"], domain="ai.onnx.ml", classlabels_strings=list("abcd"))
    kind = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    return write(path, [node], [tensor("x")], [helper.make_value_info("table", helper.make_sequence_type_proto(kind))])


def words(path: Path) -> Path:
    return write(path, [helper.make_node("Identity", ["x"], ["y"])], [tensor("x", TensorProto.STRING, ["n"])],
                 [tensor("y", TensorProto.STRING, ["n"])])  # fmt: skip


def scalar(path: Path) -> Path:
    return write(path, [helper.make_node("Log", ["x"], ["y"])], [tensor("x", shape=[])], [tensor("y", shape=[])])


def external(path: Path) -> Path:
    model = onnx.load(linear(path))
    tensor_proto = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor_proto, f"{path.stem}.bin")
    path.with_suffix(".bin").write_bytes(tensor_proto.raw_data)
    tensor_proto.ClearField("raw_data")
    tensor_proto.data_location = TensorProto.EXTERNAL
    path.write_bytes(model.SerializeToString())
    return path


GOOD = {"linear": linear, "sequence": sequence, "table": table, "words": words, "scalar": scalar, "external": external}

# ---- hostile


def crashing(path: Path) -> Path:
    """Ends its process by SIGFPE while the session is made: the smallest whole number divided by −1."""
    numbers = [
        numpy_helper.from_array(np.array([value], np.int32), name) for name, value in (("a", -(2**31)), ("b", -1))
    ]
    nodes = [helper.make_node("Div", ["a", "b"], ["q"]), helper.make_node("Add", ["x", "q"], ["y"])]
    ints = [tensor(name, TensorProto.INT32, ["n"]) for name in "xy"]
    return write(path, nodes, ints[:1], ints[1:], numbers)


def bomb(path: Path) -> Path:
    """Asks for four terabytes."""
    shape = numpy_helper.from_array(np.array([2**40], np.int64), "shape")
    nodes = [helper.make_node("ConstantOfShape", ["shape"], ["big"]), helper.make_node("ReduceSum", ["big"], ["s"]),
             helper.make_node("Add", ["x", "s"], ["y"])]  # fmt: skip
    return write(path, nodes, [tensor("x")], [tensor("y", shape=None)], [shape])


def endless(path: Path) -> Path:
    """A loop of 2^62 rounds."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["more"]), helper.make_node("Add", ["v", "v"], ["w"])], "body",
        [tensor("i", TensorProto.INT64, []), tensor("go", TensorProto.BOOL, []), tensor("v")],
        [tensor("more", TensorProto.BOOL, []), tensor("w")],
    )  # fmt: skip
    trips = numpy_helper.from_array(np.array(2**62, np.int64), "trips")
    go = numpy_helper.from_array(np.array(True), "yes")
    return write(path, [helper.make_node("Loop", ["trips", "yes", "x"], ["y"], body=body)], [tensor("x")],
                 [tensor("y")], [trips, go])  # fmt: skip


def page(path: Path) -> Path:
    path.write_bytes(b"<!DOCTYPE html><html><body>Sign in to go on</body></html>")
    return path


def cut(path: Path) -> Path:
    whole = linear(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


EVIL = "[bold red]x[/] \x1b[31m\x1b]52;c;aGk=\x07 \u202etxt.exe\u202c [@click=app.quit]q[/] é\u0301\u0301"


def evil_names(path: Path) -> Path:
    nodes = [
        helper.make_node("Neg", [EVIL], ["m"], name="n" * MILLION),
        helper.make_node("Abs", ["m"], ["y"], name=EVIL),
    ]
    return write(path, nodes, [tensor(EVIL)], [tensor("y")], name=EVIL, doc_string=EVIL * 1000)


def many_nodes(path: Path, count: int = 100_000) -> Path:
    nodes = [helper.make_node("Neg", [f"t{at}"], [f"t{at + 1}"]) for at in range(count)]
    return write(path, nodes, [tensor("t0")], [tensor(f"t{count}")])


def many_inputs(path: Path, count: int = 20_000) -> Path:
    inputs = [tensor(f"x{at}") for at in range(count)]
    return write(path, [helper.make_node("Neg", ["x0"], ["y"])], inputs, [tensor("y")])


def many_dims(path: Path) -> Path:
    return write(path, [helper.make_node("Neg", ["x"], ["y"])], [tensor("x", shape=[1] * 100_000)], [tensor("y")])


HOSTILE = {
    "crashing": crashing, "bomb": bomb, "page": page, "cut": cut, "evil": evil_names, "dims": many_dims,
}  # fmt: skip
"""Each becomes a sentence: a refusal, a version that cannot run, or, for names, a version that is shown safely."""


def variants(folder: Path) -> list[Path]:
    """Thirty small hostile files, no two alike."""
    whole = linear(folder / "whole.onnx").read_bytes()
    made: list[Path] = []

    def put(name: str, data: bytes) -> None:
        made.append(folder / f"{name}.onnx")
        made[-1].write_bytes(data)

    for at in range(8):
        put(f"prefix-{at}", whole[: len(whole) * at // 8])
    for name, data in (("zip", b"PK\x03\x04" + b"\0" * 64), ("html", b"<html>"), ("text", b"hello\n" * 20),
                       ("pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
                       ("noise", np.random.default_rng(1).bytes(4096)), ("zeros", bytes(4096))):  # fmt: skip
        put(name, data)
    rng = np.random.default_rng(2)
    for at in range(8):
        spoiled = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            spoiled[place] ^= 0xFF
        put(f"spoiled-{at}", bytes(spoiled))
    for at, op in enumerate(("NoSuchOp", "x[/]y", "\x1b[31mNeg", "a" * 5000)):
        made.append(unary(folder / f"operator-{at}.onnx", op, name=f"n{at}"))
    made.append(evil_names(folder / "names.onnx"))
    made.append(many_dims(folder / "dims.onnx"))
    made.append(write(folder / "nothing.onnx", []))
    made.append(unary(folder / "version.onnx", ir_version=99))
    assert len(made) == 30
    return made
