"""Models, records and runner doubles for the tests of the catalog."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.facts import ModelFacts
from quickserveml_tui.core.jobs import new_id
from quickserveml_tui.core.models import (
    ArtifactManifest,
    FileEntry,
    ModelRecord,
    TrialOutcome,
    TrialReport,
    VersionRecord,
)
from quickserveml_tui.core.tensors import TensorSpec

READY = TrialReport(TrialOutcome.READY, load_ms=1.0, run_ms=1.0, runtime="onnxruntime 1.32.0")
UNRUNNABLE = TrialReport(TrialOutcome.UNRUNNABLE, reason="The operator Frobnicate is unknown.")


def linear_proto(scale=1.0, op="MatMul", features=4):
    """`y = x · W` with a weight of its own for every scale."""
    weight = numpy_helper.from_array(np.full((features, 3), scale, dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", features])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def save_linear(path: Path, scale=1.0, op="MatMul") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(linear_proto(scale, op).SerializeToString())
    return path


def save_external(path: Path, location="weights.bin", scale=1.0) -> Path:
    """The same model with its weight in another file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    proto = linear_proto(scale)
    onnx.save(proto, path, save_as_external_data=True, location=location, size_threshold=0)
    return path


def save_crashing(path: Path) -> Path:
    """A model whose integer division kills the process that runs it: INT_MIN / −1."""
    low = numpy_helper.from_array(np.array([np.iinfo(np.int32).min], dtype=np.int32), "a")
    minus = numpy_helper.from_array(np.array([-1], dtype=np.int32), "b")
    graph = helper.make_graph(
        [helper.make_node("Div", ["a", "b"], ["q"]), helper.make_node("Add", ["q", "x"], ["y"])],
        "crash",
        [helper.make_tensor_value_info("x", TensorProto.INT32, [1])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [1])],
        [low, minus],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(proto.SerializeToString())
    return path


def make_facts(**changes):
    fields = {
        "ir_version": 8,
        "opsets": {"ai.onnx": 17},
        "producer": "tests",
        "graph_name": "g",
        "inputs": (TensorSpec("x", "float32", ("batch", 4)),),
        "outputs": (TensorSpec("y", "float32", ("batch", 3)),),
        "nodes": 1,
        "params": 12,
        "macs": 12,
        "size_bytes": 100,
        "op_types": {"MatMul": 1},
    }
    return ModelFacts(**(fields | changes))


def make_version(number=1, content=b"", trial=READY, **changes):
    content = content or b"model %d" % number
    digest = hashlib.sha256(content).hexdigest()
    fields = {
        "version": number,
        "artifact": ArtifactManifest(digest, (FileEntry("model.onnx", digest, len(content)),)),
        "facts": make_facts(),
        "trial": trial,
        "created_at": utc_now(),
    }
    return VersionRecord(**(fields | changes))


def make_model(name, **changes):
    fields = {
        "id": new_id("model"),
        "name": name,
        "created_at": utc_now(),
        "updated_at": utc_now(),
        "versions": (make_version(1),),
        "next_version": 2,
    }
    return ModelRecord(**(fields | changes))


class RunnerDouble:
    """A runner that answers from what the test gives it, and notes what it was asked."""

    def __init__(self, *, external=(), facts=None, report=READY, on_call=lambda name: None):
        self.calls = []
        self.pid = 0
        self.alive = True
        self._answers = {"external_files": tuple(external), "read_facts": facts or make_facts(), "trial": report}
        self._on_call = on_call

    def _answer(self, name, path):
        self.calls.append((name, sorted(item.name for item in path.parent.rglob("*") if item.is_file())))
        self._on_call(name)
        answer = self._answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def external_files(self, path):
        return self._answer("external_files", path)

    def read_facts(self, path):
        return self._answer("read_facts", path)

    def trial(self, path, feed, *, nodes=0, cancel=None):
        return self._answer("trial", path)

    def close(self):
        self.alive = False


class PoolDouble:
    """Lends the same double again and again."""

    def __init__(self, runner):
        self.runner = runner

    @contextmanager
    def borrow(self):
        yield self.runner

    fresh = borrow

    def close(self):
        self.runner.close()
