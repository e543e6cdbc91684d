"""Multiply-adds of each operator family follow its definition, at batch 1."""

from __future__ import annotations

import numpy as np
import pytest
from graph_builders import FLOAT, model, save, value, weight
from onnx import TensorProto, helper

from quickserveml_tui.graph.facts import read_facts


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


def macs_of(tmp_path, nodes, inputs, weights=(), *, outputs=None, **kwargs):
    outputs = outputs or [value("y", None)]
    initializers = [weight(name, array) for name, array in weights]
    return read_facts(save(model(nodes, inputs, outputs, initializers, **kwargs), tmp_path)).macs


CASES = {
    "conv": ([helper.make_node("Conv", ["x", "w"], ["y"], group=2, pads=[1, 1, 1, 1])], (4, 8, 8),
             {"w": ones(6, 2, 3, 3)}, 6 * 8 * 8 * 2 * 9),
    "transposed conv": ([helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])], (4, 5, 5),
                        {"w": ones(4, 3, 2, 2)}, 4 * 5 * 5 * 3 * 4),
    "gemm": ([helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)], (10,),
             {"w": ones(7, 10), "b": ones(7)}, 70),
    "batched matmul": ([helper.make_node("MatMul", ["x", "w"], ["y"])], (3, 5, 6), {"w": ones(6, 2)}, 3 * 5 * 6 * 2),
    "einsum": ([helper.make_node("Einsum", ["x", "w"], ["y"], equation="bij, jk -> bik")], (5, 6),
               {"w": ones(6, 2)}, 5 * 6 * 2),
    "elementwise": ([helper.make_node("Mul", ["x", "x"], ["y"])], (5, 6), {}, 0),
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES)
def test_an_operator_counts_its_products(kind, tmp_path):
    nodes, tail, weights, expected = CASES[kind]
    assert macs_of(tmp_path, nodes, [value("x", ("batch", *tail))], weights.items()) == expected


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrent_layers_count_every_time_step_and_direction(op, gates, tmp_path):
    hidden, width, steps = 8, 5, 12
    node = helper.make_node(op, ["x", "w", "r"], ["y"], hidden_size=hidden, direction="bidirectional")
    weights = [("w", ones(2, gates * hidden, width)), ("r", ones(2, gates * hidden, hidden))]
    expected = steps * 2 * gates * hidden * (width + hidden)
    assert macs_of(tmp_path, [node], [value("x", (steps, "batch", width))], weights) == expected


def test_quantized_operators_count_like_their_float_forms(tmp_path):
    scale, zero = ("s", np.array(0.1, np.float32)), ("z", np.array(0, np.uint8))
    conv = helper.make_node("QLinearConv", ["x", "s", "z", "w", "s", "z", "s", "z"], ["y"])
    image = helper.make_tensor_value_info("x", TensorProto.UINT8, ("batch", 2, 4, 4))
    weights = [scale, zero, ("w", ones(3, 2, 3, 3, dtype=np.uint8))]
    assert macs_of(tmp_path, [conv], [image], weights, outputs=[_out(TensorProto.UINT8)]) == 3 * 2 * 2 * 2 * 9
    matmul = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    row = helper.make_tensor_value_info("x", TensorProto.UINT8, ("batch", 6))
    weights = [("w", ones(6, 5, dtype=np.uint8))]
    assert macs_of(tmp_path, [matmul], [row], weights, outputs=[_out(TensorProto.INT32)]) == 30


def _out(dtype):
    return helper.make_tensor_value_info("y", dtype, None)


def test_weights_behind_dequantize_count(tmp_path):
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    weights = [("q", ones(4, 6, dtype=np.int8)), ("s", np.array(0.1, np.float32))]
    assert macs_of(tmp_path, nodes, [value("x")], weights) == 24


def _loop(limit):
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("MatMul", ["v", "w"], ["v2"])],
        "body",
        [_scalar("i", TensorProto.INT64), _scalar("c", TensorProto.BOOL), value("v", (1, 4))],
        [_scalar("c2", TensorProto.BOOL), value("v2", (1, 4))],
    )
    return helper.make_node("Loop", [limit, "", "x"], ["y"], body=body)


def _scalar(name, dtype):
    return helper.make_tensor_value_info(name, dtype, ())


def test_a_loop_counts_its_body_times_a_trip_count_in_the_file(tmp_path):
    weights = [("w", ones(4, 4)), ("n", np.array(7, np.int64))]
    assert macs_of(tmp_path, [_loop("n")], [value("x", (1, 4))], weights) == 7 * 16


def test_multiply_adds_are_unknown_where_a_trip_count_or_a_shape_is(tmp_path):
    inputs = [value("x", (1, 4)), _scalar("n", TensorProto.INT64)]
    assert macs_of(tmp_path, [_loop("n")], inputs, [("w", ones(4, 4))]) is None
    node = helper.make_node("MatMul", ["x", "x"], ["y"])
    assert macs_of(tmp_path, [node], [helper.make_tensor_value_info("x", FLOAT, None)]) is None


def test_shapes_behind_scikit_learns_scaler_are_known(tmp_path):
    nodes = [
        helper.make_node("Scaler", ["x"], ["h"], domain="ai.onnx.ml", scale=[1.0] * 4, offset=[0.0] * 4),
        helper.make_node("MatMul", ["h", "w"], ["y"]),
    ]
    assert macs_of(tmp_path, nodes, [value("x")], [("w", ones(4, 3))], domains=("ai.onnx.ml",)) == 12
