"""Models and tampering for the tests of golden outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from catalog_builders import save_linear
from onnx import TensorProto, helper, numpy_helper

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.models import GoldenOutput
from quickserveml_tui.runtime.value_files import save_values

INT_MIN = np.iinfo(np.int32).min


def _save(path: Path, graph) -> Path:
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(proto.SerializeToString())
    return path


def save_random(path: Path) -> Path:
    """`steady` repeats its input, `noise` is another one with every run."""
    x, steady, noise = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("x", "steady", "noise")
    )
    nodes = [helper.make_node("Neg", ["x"], ["steady"]), helper.make_node("RandomNormalLike", ["x"], ["noise"])]
    return _save(path, helper.make_graph(nodes, "random", [x], [steady, noise]))


def save_fragile(path: Path) -> Path:
    """`y = x / −1`, which kills its process for the smallest integer."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.INT32, ["n"]) for name in "xy")
    minus = numpy_helper.from_array(np.array([-1], np.int32), "minus")
    return _save(
        path, helper.make_graph([helper.make_node("Div", ["x", "minus"], ["y"])], "fragile", [x], [y], [minus])
    )


def add_linear(home, folder: Path, name: str = "lin", scale: float = 1.0):
    """A linear model in the catalog: `x` float32[batch, 4] to `y` float32[batch, 3], each the sum of its row."""
    return home.catalog.add(AddRequest(str(save_linear(folder / f"{name}-{scale}.onnx", scale)), name=name))


def put_golden(home, ref: str, name: str, inputs: dict, outputs: dict, **fields) -> GoldenOutput:
    """A golden output written straight into the stores, right or wrong."""
    model, number = ref.split("@")
    with home.artifacts.publishing():
        digests = [home.artifacts.put_bytes(save_values(values)) for values in (inputs, outputs)]
        golden = GoldenOutput(name, *digests, utc_now(), **fields)

        def change(record):
            versions = tuple(
                replace(item, golden=(*(old for old in item.golden if old.name != name), golden))
                if item.version == int(number)
                else item
                for item in record.versions
            )
            return replace(record, versions=versions)

        home.registry.put(model, change)
    return golden


def tamper(home, ref: str, name: str = "default") -> None:
    """Record a golden output of a linear model again, with outputs that it does not give."""
    x = np.ones((1, 4), np.float32)
    put_golden(home, ref, name, {"x": x}, {"y": np.full((1, 3), 99, np.float32)})


def correct(home, ref: str, name: str = "default") -> None:
    """A golden output that a linear model of scale 1 gives."""
    x = np.ones((1, 4), np.float32)
    put_golden(home, ref, name, {"x": x}, {"y": np.full((1, 3), 4, np.float32)})


def golden_of(home, ref: str) -> list[str]:
    """Names of what a version has."""
    return [item.name for item in home.golden.list(ref)]
