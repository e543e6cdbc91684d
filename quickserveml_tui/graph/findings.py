"""Findings about a readable model that its owner should know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import onnx

from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.graph.analysis import Reading
from quickserveml_tui.graph.columns import NAME
from quickserveml_tui.graph.reading import MAX_PROTO_BYTES, Tensor, shown, text
from quickserveml_tui.graph.scopes import Operator
from quickserveml_tui.graph.sniff import map_file
from quickserveml_tui.graph.stored import stored_bytes
from quickserveml_tui.graph.structure import MAX_CALL_DEPTH
from quickserveml_tui.graph.tensors import byte_count, dtype_name, inline_payload, is_external

MAX_WARNINGS = 20
MAX_SCANNED_BYTES = 64 * 2**20
"""Weights beyond this are not searched for NaN and infinity: 0.05 s."""

_BUILT_IN_DOMAINS = {
    "", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "com.microsoft",
    "com.microsoft.nchwc", "com.ms.internal.nhwc", "com.microsoft.experimental",
}  # fmt: skip
_FLOATS = {"float32": "<f4", "float64": "<f8", "float16": "<f2"}
"""numpy dtypes of what is searched."""


def _has_bad_numbers(tensor: Tensor, data: memoryview) -> bool:
    values = np.frombuffer(stored_bytes(tensor, data), dtype=_FLOATS[dtype_name(tensor.data_type)])
    step = 1 << 20  # what is tested at a time takes memory
    return not all(bool(np.isfinite(values[at : at + step]).all()) for at in range(0, len(values), step))


def _is_scanned(tensor: Tensor) -> bool:
    if dtype_name(tensor.data_type) not in _FLOATS:
        return False
    return not is_external(tensor) or inline_payload(tensor) is not None


def _number_findings(reading: Reading) -> Iterator[str]:
    left = MAX_SCANNED_BYTES
    bad: list[str] = []
    with map_file(reading.path) as data:
        for tensor in reading.tensors():
            left -= byte_count(tensor) or 0
            if left < 0:
                break
            if _is_scanned(tensor) and _has_bad_numbers(tensor, data):
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
    if reading.file.file_bytes > MAX_PROTO_BYTES:
        yield "The file is larger than 2 GiB, which runtimes refuse: save it with external data."
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
