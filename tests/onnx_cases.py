"""The models with data that the onnx package brings: 1,884 node models and 140 files beside nine light networks."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
RANDOM_OPERATORS = {"Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
                    "RandomUniformLike"}  # fmt: skip


@dataclass(frozen=True)
class OnnxCase:
    """A model with inputs by name: arrays (`ml_dtypes` where numpy lacks the type), lists, and None."""

    name: str
    model: bytes
    inputs: dict[str, Any]
    is_random: bool
    """Whether its outputs differ from run to run."""
    path: Path | None = None
    """The file, for a file case."""
    outputs: list[Any] = field(default_factory=list)
    """What the data set says must come out, in the model's order."""


@cache
def node_cases() -> tuple[OnnxCase, ...]:
    """All node models, built once in a process (4 s)."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collected = collect_testcases(None)
    return tuple(_node_case(case) for case in collected)


def _node_case(case: Any) -> OnnxCase:
    ((inputs, outputs),) = case.data_sets
    names = [value.name for value in case.model.graph.input]
    values = {name: plain(value) for name, value in zip(names, inputs, strict=True)}
    return OnnxCase(
        case.name, case.model.SerializeToString(), values, _is_random(case.model), outputs=[plain(o) for o in outputs]
    )


def model_files() -> list[Path]:
    """All .onnx files of the package."""
    return sorted(DATA.rglob("*.onnx"))


@cache
def file_cases() -> tuple[OnnxCase, ...]:
    """The files with the inputs of their first data set; the light networks, which have none of their own, left out."""
    return tuple(_file_case(path) for path in model_files() if path.parent.name != "light")


def _file_case(path: Path) -> OnnxCase:
    model = onnx.load(path)
    stored = {tensor.name for tensor in model.graph.initializer}
    wanted = [value for value in model.graph.input if value.name not in stored]
    folder = path.parent / "test_data_set_0"
    inputs = {value.name: _read(folder / f"input_{index}.pb", value.type) for index, value in enumerate(wanted)}
    outputs = [_read(folder / f"output_{index}.pb", value.type) for index, value in enumerate(model.graph.output)]
    name = f"{path.parent.parent.name}/{path.parent.name}"
    return OnnxCase(name, path.read_bytes(), inputs, _is_random(model), path, outputs)


def _read(path: Path, kind: onnx.TypeProto) -> Any:
    data = path.read_bytes()
    if kind.HasField("sequence_type"):
        return numpy_helper.to_list(onnx.SequenceProto.FromString(data))
    if kind.HasField("optional_type"):
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(data))
    return plain(onnx.TensorProto.FromString(data))


def plain(value: Any) -> Any:
    """A value of a data set as arrays, lists and None; strings are object arrays of str."""
    if isinstance(value, onnx.TensorProto):
        value = numpy_helper.to_array(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if value is None:
        return None
    array = np.asarray(value)
    if array.dtype.kind not in "OSU":
        return array
    texts = [item.decode() if isinstance(item, bytes) else str(item) for item in array.ravel().tolist()]
    return np.array(texts, dtype=object).reshape(array.shape)


def _is_random(model: onnx.ModelProto) -> bool:
    return any(node.op_type in RANDOM_OPERATORS for node in model.graph.node)
