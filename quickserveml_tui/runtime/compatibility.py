"""Which opsets and IR versions the installed runtime takes, found by loading tiny models."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

import onnxruntime

from quickserveml_tui.core.compatibility import RuntimeLimits
from quickserveml_tui.graph.protobuf import VARINT, field, varint
from quickserveml_tui.runtime.session import runtime_name

DOMAINS = ("ai.onnx", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training", "ai.onnx.training", "com.microsoft")
"""Domains that a runtime may know: in one that it does not know it takes any number."""
FAR = 2**20
"""A number that no domain will reach."""

_OLD_OPSET, _OLD_IR = 13, 7  # of 2020: every supported runtime takes them
_SAID = re.compile(r"till opset (\d{1,6})\b|max supported IR version: (\d{1,6})\b")
_FLOAT = 1


@cache
def probe_limits() -> RuntimeLimits:
    """The newest opset of each domain that the runtime knows, and the newest IR version; takes about 10 ms, once.

    A number counts as taken when a model that is stamped with it loads: its operators need not all be there. A domain
    in which the runtime takes any number, as it does where `ALLOW_RELEASED_ONNX_OPSET_ONLY=0` is set, is left out.
    """
    opsets = {}
    for domain in DOMAINS:
        newest = newest_taken(lambda number, domain=domain: refusal(domain, number, _OLD_IR))  # type: ignore[misc]
        if newest is not None:
            opsets[domain] = newest
    from quickserveml_tui.graph.operators import newest_opset  # imports onnx: only a runner asks

    ir_version = newest_taken(lambda number: refusal("ai.onnx", _OLD_OPSET, number))
    return RuntimeLimits(runtime_name(), FAR if ir_version is None else ir_version, opsets, newest_opset())


def newest_taken(refuse: Callable[[int], str | None]) -> int | None:
    """The largest number that is not refused; None when there is no bound, 0 when everything is refused.

    `refuse` returns None for a number that is taken, else the reason; one that names the bound saves most tries.
    """
    reason = refuse(FAR)
    if reason is None:
        return None
    said = _SAID.search(reason)
    low = int(said[1] or said[2]) if said else 0
    if not 0 < low < FAR or refuse(low) is not None:
        low = next((number for number in range(1, 65) if refuse(number) is None), 0)
        if not low:
            return 0
    high = low + 1
    while refuse(high) is None:  # what the runtime says may be less than what it does
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if refuse(middle) is None:
            low = middle
        else:
            high = middle
    return low


def refusal(domain: str, opset: int, ir_version: int) -> str | None:
    """None when the runtime loads a model with this opset of this domain and this IR version, else what it says."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        onnxruntime.InferenceSession(_model(domain, opset, ir_version), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - the binding raises a dozen types of its own; any of them is a refusal
        return str(error) or type(error).__name__
    return None


def _number(tag: int, value: int) -> bytes:
    return varint(tag << 3 | VARINT) + varint(value)


def _value(name: bytes) -> bytes:
    """ValueInfoProto of a float32 tensor of one element."""
    shape = field(2, field(1, _number(1, 1)))
    return field(1, name) + field(2, field(1, _number(1, _FLOAT) + shape))


def _model(domain: str, opset: int, ir_version: int) -> bytes:
    """A ModelProto with one Identity, the operator that gets a new version with nearly every opset."""
    node = field(1, b"x") + field(2, b"y") + field(4, b"Identity")
    graph = field(1, node) + field(2, b"probe") + field(11, _value(b"x")) + field(12, _value(b"y"))
    name = "" if domain == "ai.onnx" else domain
    imports = field(8, field(1, name.encode()) + _number(2, opset))
    if name:
        imports += field(8, field(1, b"") + _number(2, _OLD_OPSET))
    return _number(1, ir_version) + field(7, graph) + imports
