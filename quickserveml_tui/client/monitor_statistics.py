"""Snapshots from the statistics of the inference protocol, for servers that show no metrics there."""

from __future__ import annotations

from typing import Annotated

import msgspec

from quickserveml_tui.client.monitor_metrics import triton_model
from quickserveml_tui.core.monitoring import ModelSnapshot
from quickserveml_tui.core.text import safe_text

MAX_MODELS = 10_000
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _Duration(msgspec.Struct):
    count: _Count = 0
    ns: _Count = 0


class _Times(msgspec.Struct):
    success: _Duration = msgspec.field(default_factory=_Duration)
    fail: _Duration = msgspec.field(default_factory=_Duration)
    queue: _Duration = msgspec.field(default_factory=_Duration)
    compute_infer: _Duration = msgspec.field(default_factory=_Duration)
    cache_hit: _Duration = msgspec.field(default_factory=_Duration)
    cache_miss: _Duration = msgspec.field(default_factory=_Duration)


class _Model(msgspec.Struct):
    name: str
    version: str = ""
    inference_count: _Count = 0
    execution_count: _Count = 0
    inference_stats: _Times = msgspec.field(default_factory=_Times)


class _Statistics(msgspec.Struct):
    model_stats: Annotated[list[_Model], msgspec.Meta(max_length=MAX_MODELS)]


def read_statistics(body: bytes) -> tuple[ModelSnapshot, ...]:
    """The versions in an answer to `GET /v2/models/stats`. Raises `ValueError` for anything else."""
    try:
        found = msgspec.json.decode(body, type=_Statistics)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return tuple(_snapshot(model) for model in found.model_stats)


def _snapshot(model: _Model) -> ModelSnapshot:
    times = model.inference_stats
    counts = {
        "nv_inference_request_success": times.success.count,
        "nv_inference_exec_count": model.execution_count,
        "nv_inference_request_duration_us": times.success.ns // 1000,
        "nv_inference_queue_duration_us": times.queue.ns // 1000,
        "nv_inference_compute_infer_duration_us": times.compute_infer.ns // 1000,
    }
    common = {
        "name": safe_text(model.name, 200),
        "version": safe_text(model.version, 80),
        "inferences": model.inference_count,
        "executions": model.execution_count,
        "cache_hits": times.cache_hit.count,
        "cache_misses": times.cache_miss.count,
    }
    return triton_model(common, {"500": times.fail.count}, lambda name: counts.get(name, 0))
