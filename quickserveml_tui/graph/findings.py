"""Findings about a readable model that its owner should know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import onnx

from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.graph.analysis import Reading
from quickserveml_tui.graph.columns import NAME
from quickserveml_tui.graph.reading import Tensor, shown, text
from quickserveml_tui.graph.scopes import Operator
from quickserveml_tui.graph.structure import MAX_CALL_DEPTH
from quickserveml_tui.graph.tensors import dtype_name, is_external

MAX_WARNINGS = 20
MAX_SCANNED_BYTES = 64 * 2**20
"""Weights beyond this are not searched for NaN and infinity: 0.05 s."""

_BUILT_IN_DOMAINS = {
    "", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "com.microsoft",
    "com.microsoft.nchwc", "com.ms.internal.nhwc", "com.microsoft.experimental",
}  # fmt: skip
_NUMPY_FLOATS = {"float32": np.float32, "float64": np.float64, "float16": np.float16}
_FLOAT_FIELDS = {"float32": "float_data", "float64": "double_data"}


def _has_bad_numbers(tensor: Tensor) -> bool:
    dtype = dtype_name(tensor.data_type)
    if dtype not in _NUMPY_FLOATS or is_external(tensor):
        return False
    if tensor.HasField("raw_data"):
        values = np.frombuffer(tensor.raw_data, dtype=np.dtype(_NUMPY_FLOATS[dtype]).newbyteorder("<"))
    elif dtype in _FLOAT_FIELDS:
        values = np.asarray(getattr(tensor, _FLOAT_FIELDS[dtype]))
    else:
        return False
    return not bool(np.isfinite(values).all())


def _number_findings(reading: Reading) -> Iterator[str]:
    scanned = 0
    bad: list[str] = []
    for tensor in reading.tensors():
        scanned += tensor.ByteSize()
        if scanned > MAX_SCANNED_BYTES:
            break
        if _has_bad_numbers(tensor):
            bad.append(shown(tensor.name))
    if bad:
        yield f"{plural(len(bad), 'weight tensor')} with NaN or infinite values, first “{bad[0]}”."


def _name_findings(reading: Reading) -> Iterator[str]:
    names: set[bytes] = set()
    shared: dict[bytes, None] = {}
    for name in _node_names(reading):
        if name in names:
            shared[name] = None
        elif name:
            names.add(name)
    if shared:
        yield f"{plural(len(shared), 'node name')} used more than once, first “{shown(next(iter(shared)))}”."


def _node_names(reading: Reading) -> Iterator[bytes]:
    yield from reading.nodes.strings(NAME)
    for scope in reading.main.family():
        for node in scope.nodes:
            name = node.name
            yield name if isinstance(name, bytes) else name.encode()


def _domain_findings(reading: Reading, operators: Counter[Operator]) -> Iterator[str]:
    own = {text(function.domain) for function in reading.model.functions}
    foreign: dict[str, str] = {}
    for domain, op in operators:
        if domain not in _BUILT_IN_DOMAINS and domain not in own:
            foreign.setdefault(domain, op)
    for domain, op in foreign.items():
        yield f"Operator {shown(op)} of domain {shown(domain)} needs a custom operator library."


def _limit_findings(reading: Reading) -> Iterator[str]:
    if reading.expansion.depth > MAX_CALL_DEPTH:
        yield f"Functions call each other {reading.expansion.depth:,} deep; multiply-adds are not worked out."
    elif not reading.expansion.bounded:
        yield "Its functions expand to too many nodes; multiply-adds are not worked out."
    newest = onnx.defs.onnx_opset_version()
    for opset in reading.model.opset_import:
        if text(opset.domain) in ("", "ai.onnx") and opset.version > newest:
            yield f"Opset {opset.version} is newer than {newest}, the newest that is known here."


def find_problems(reading: Reading, operators: Counter[Operator]) -> Iterator[str]:
    """Findings from the file's content, each one bounded line; the checker's come apart."""
    for source in (
        _limit_findings(reading),
        _domain_findings(reading, operators),
        _name_findings(reading),
        _number_findings(reading),
    ):
        for finding in source:
            yield safe_text(finding, 300)
