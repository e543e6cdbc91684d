"""What a served model looks like from outside: metadata, configuration, statistics, schema."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import add
from typing import Any

from quickserveml_tui.services.serving import ServingService
from quickserveml_tui.services.serving_counts import SizeCount
from quickserveml_tui.services.serving_models import ServedModel
from quickserveml_tui.services.serving_stats import Counters, Histogram, ModelStats
from quickserveml_tui.wire.datatypes import TensorType

EXTENSIONS = ("binary_tensor_data", "model_repository", "model_configuration", "statistics")
"""Extensions of the protocol that work here."""
PLATFORM = "onnxruntime_onnx"
MAX_EXAMPLE_ELEMENTS = 2**20

_CONFIG_TYPES = {"BYTES": "TYPE_STRING"}
_JSON_TYPES = {"f": "number", "i": "integer", "u": "integer", "b": "boolean", "O": "string"}


def _tensor(kind: TensorType) -> dict[str, Any]:
    return {"name": kind.name, "datatype": kind.datatype, "shape": list(kind.shape or ())}


def model_metadata(serving: ServingService, model: ServedModel) -> dict[str, Any]:
    """Metadata by the protocol; a free dim is -1."""
    return {
        "name": model.name,
        "versions": list(serving.versions(model.name)),
        "platform": PLATFORM,
        "inputs": [_tensor(kind) for kind in model.inputs],
        "outputs": [_tensor(kind) for kind in model.outputs],
    }


def model_config(model: ServedModel) -> dict[str, Any]:
    """The model's configuration as Triton writes it; load generators read the batch size and dims from it."""
    batched = model.traits.batchable

    def tensor(kind: TensorType) -> dict[str, Any]:
        dims = list(kind.shape or ())
        return {
            "name": kind.name,
            "data_type": _CONFIG_TYPES.get(kind.datatype, f"TYPE_{kind.datatype}"),
            "dims": dims[1:] if batched else dims,
        }

    return {
        "name": model.name,
        "platform": PLATFORM,
        "backend": "onnxruntime",
        "max_batch_size": model.traits.max_batch if batched else 0,
        "input": [tensor(kind) for kind in model.inputs],
        "output": [tensor(kind) for kind in model.outputs],
    }


def _duration(histograms: Iterable[Histogram]) -> dict[str, int]:
    found = tuple(histograms)
    return {"count": sum(item.count for item in found), "ns": sum(item.total for item in found)}


def model_statistics(model: ServedModel, counters: Sequence[Counters] = ()) -> dict[str, Any]:
    """Statistics of one version as Triton writes them, over the workers whose counters are given, or of this one.

    `compute_input` is putting requests together into a shared run, `compute_output` taking its outputs apart and
    writing the answers; both and `compute_infer` count a run once for each of its requests. Reading a request counts
    with `queue`. In `batch_stats` a run counts once, by its rows.
    """
    stats = [worker.model(model.entry.slot) for worker in counters] or [model.stats]
    compute = _duration(item.compute for item in stats)
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": max(item.last_inference_ms for item in stats),
        "inference_count": sum(item.items for item in stats),
        "execution_count": sum(item.batch.count for item in stats),
        "inference_stats": {
            "success": _duration(item.request for item in stats),
            "fail": {"count": sum(item.failed for item in stats), "ns": sum(item.failed_ns for item in stats)},
            "queue": _duration(item.queue for item in stats),
            "compute_input": {"count": compute["count"], "ns": sum(item.input_ns for item in stats)},
            "compute_infer": compute,
            "compute_output": {"count": compute["count"], "ns": sum(item.output_ns for item in stats)},
            "cache_hit": {"count": sum(item.cache_hits for item in stats), "ns": 0},
            "cache_miss": {"count": sum(item.cache_misses for item in stats), "ns": 0},
        },
        "batch_stats": _batch_stats(stats),
    }


def _batch_stats(stats: Sequence[ModelStats]) -> list[dict[str, Any]]:
    total: dict[int, SizeCount] = {}
    for size in (size for item in stats for size in item.sizes):
        known = total.get(size.rows, SizeCount(size.rows, 0, 0, 0, 0))
        total[size.rows] = SizeCount(size.rows, *map(add, known[1:], size[1:]))
    return [
        {
            "batch_size": rows,
            "compute_input": {"count": size.runs, "ns": size.input_ns},
            "compute_infer": {"count": size.runs, "ns": size.compute_ns},
            "compute_output": {"count": size.runs, "ns": size.output_ns},
        }
        for rows, size in sorted(total.items())
    ]


def repository_index(serving: ServingService) -> list[dict[str, str]]:
    """All versions of all models with their state."""
    return [{"name": model.name, "version": model.version, "state": "READY", "reason": ""} for model in serving.models]


def model_info(serving: ServingService, model: ServedModel) -> dict[str, Any]:
    """What people want to know of a model: identity, tensors, and how it is run here."""
    entry = model.entry
    traits = model.traits
    return {
        "name": model.name,
        "version": model.version,
        "versions": list(serving.versions(model.name)),
        "digest": model.digest,
        "label": entry.label,
        "task": entry.task,
        "description": entry.description,
        "tags": list(entry.tags),
        "inputs": [spec.to_doc() for spec in model.session.inputs],
        "outputs": [spec.to_doc() for spec in model.session.outputs],
        "provider": model.session.provider,
        "serving": {
            "batched": traits.batchable,
            "batching_reason": traits.reason,
            "max_batch": traits.max_batch,
            "in_event_loop": traits.inline,
            "run_us": None if traits.run_ns is None else traits.run_ns / 1e3,
        },
    }
