"""Read the facts of a model file without running it."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.core.facts import ModelFacts
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.graph import shapes
from quickserveml_tui.graph.analysis import Reading, read_sound_model
from quickserveml_tui.graph.findings import MAX_WARNINGS, find_problems
from quickserveml_tui.graph.macs import operator_name, total_macs
from quickserveml_tui.graph.reading import ModelProto, text
from quickserveml_tui.graph.scopes import build_scopes, value_type
from quickserveml_tui.graph.tensors import dtype_name
from quickserveml_tui.graph.weights import count_weights

MAX_VALUES = 20_000
MAX_NAME_CHARS = 10_000
MAX_METADATA = 256
MAX_OP_TYPES = 2_000
MAX_TEXT_CHARS = 4_096


def read_facts(path: Path) -> ModelFacts:
    """Facts of the model at `path`; field docs are in `ModelFacts`.

    Raises `ModelError` as `read_model` and `external_files` do, and `model.no_graph`, `model.no_outputs`,
    `model.broken`, `model.bad_tensor` and `model.too_large` for content that no runtime could use. Texts from the file
    are clipped, but not cleaned: pass them through `safe_text()` where they are shown.
    """
    reading = read_sound_model(path)
    model = reading.model
    nodes, op_types = _operators(reading)
    weights: Counter[str] = Counter()
    for scope in (reading.main, *reading.functions):
        weights += count_weights(scope)
    inputs, outputs = _inputs(model), tuple(_spec(info) for info in model.graph.output)
    _check_values(inputs, outputs)
    warnings = list(islice(find_problems(reading), MAX_WARNINGS - 1))
    macs, finding = _work(reading)  # last: it empties the model of its large weights
    return ModelFacts(
        ir_version=model.ir_version,
        opsets={text(item.domain) or "ai.onnx": item.version for item in islice(model.opset_import, 256)},
        producer=_clip(f"{text(model.producer_name)} {text(model.producer_version)}".strip()),
        graph_name=_clip(text(model.graph.name)),
        inputs=inputs,
        outputs=outputs,
        nodes=nodes,
        params=sum(weights.values()),
        macs=macs,
        size_bytes=path.stat().st_size + reading.external_bytes,
        weight_dtypes=dict(weights.most_common()),
        op_types=dict(op_types.most_common(MAX_OP_TYPES)),
        functions=len(model.functions),
        metadata={
            _clip(text(item.key)): _clip(text(item.value)) for item in islice(model.metadata_props, MAX_METADATA)
        },
        doc=_clip(text(model.doc_string) or text(model.graph.doc_string)),
        warnings=tuple(warnings + [finding] * bool(finding)),
    )


def _clip(value: str) -> str:
    return value if len(value) <= MAX_TEXT_CHARS else value[: MAX_TEXT_CHARS - 1] + "…"


def _operators(reading: Reading) -> tuple[int, Counter[str]]:
    histogram: Counter[str] = Counter(_clip(operator_name(node)) for _, node in reading.main.walk())
    return histogram.total(), histogram


def _inputs(model: ModelProto) -> tuple[TensorSpec, ...]:
    """Inputs that a caller must give: models before IR 4 list their initializers as well."""
    weights = {text(tensor.name) for tensor in model.graph.initializer}
    weights |= {text(sparse.values.name) for sparse in model.graph.sparse_initializer}
    return tuple(_spec(info) for info in model.graph.input if text(info.name) not in weights)


_KINDS = {"tensor_type": "tensor", "sparse_tensor_type": "sparse", "sequence_type": "sequence", "map_type": "map",
          "optional_type": "optional"}  # fmt: skip


def _spec(info: Any) -> TensorSpec:
    kind = _KINDS.get(info.type.WhichOneof("value") or "", "tensor")
    if kind == "tensor":
        found = value_type(info.type)
        dtype = "undefined" if found.dtype == "unknown" else found.dtype
        return TensorSpec(text(info.name), dtype, found.shape)
    return TensorSpec(text(info.name), type_string(info.type), value_type(info.type).shape, kind)


def type_string(proto: Any, depth: int = 0) -> str:
    """A type as the runtime writes it: `tensor(float32)`, `seq(map(int64,tensor(float32)))`."""
    kind = proto.WhichOneof("value")
    if depth > 16:
        return "…"
    if kind in ("tensor_type", "sparse_tensor_type"):
        word = "tensor" if kind == "tensor_type" else "sparse_tensor"
        return f"{word}({dtype_name(getattr(proto, kind).elem_type)})"
    if kind == "sequence_type":
        return f"seq({type_string(proto.sequence_type.elem_type, depth + 1)})"
    if kind == "map_type":
        key = dtype_name(proto.map_type.key_type)
        return f"map({key},{type_string(proto.map_type.value_type, depth + 1)})"
    if kind == "optional_type":
        return f"optional({type_string(proto.optional_type.elem_type, depth + 1)})"
    return "unknown"


def _check_values(inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
    for what, specs in (("inputs", inputs), ("outputs", outputs)):
        if len(specs) > MAX_VALUES:
            raise ModelError(
                f"The model has {len(specs):,} {what}; up to {MAX_VALUES:,} can be handled.",
                hint="Join them before the export.",
                code="model.too_large",
            )
        longest = max((spec.name for spec in specs), key=len, default="")
        if len(longest) > MAX_NAME_CHARS:
            raise ModelError(
                f"The model has {what} with names of {len(longest):,} characters (“{safe_text(longest, 40)}”).",
                hint="Rename them before the export.",
                code="model.too_large",
            )


def _work(reading: Reading) -> tuple[int | None, str]:
    """Multiply-adds at batch 1, and the checker's finding. Turns the model into its skeleton."""
    if not reading.expansion.bounded:
        return None, ""
    skeleton = shapes.make_skeleton(reading.model)
    if not shapes.is_small_enough(skeleton):
        return None, "The graph is too large for the checker and for shape inference."
    finding = shapes.checker_findings(skeleton)
    finding = finding and f"Checker: {finding}"
    expanded = shapes.expand_functions(skeleton) if reading.functions else skeleton
    if expanded is skeleton and reading.functions:
        return None, finding
    fixed = shapes.fix_batch(shapes.stand_in_for_uninferred(expanded))
    scope, _ = build_scopes(shapes.infer(fixed))
    return total_macs(scope), finding
