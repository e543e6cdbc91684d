"""Results as the documents that `--json` prints; `docs/contract/cli.schema.json` is their schema."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec

from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.models import Lineage
from quickserveml_tui.core.refs import PROTECTED_ALIASES
from quickserveml_tui.core.text import safe_lines, safe_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quickserveml_tui.core.benchmarks import BenchmarkRun
    from quickserveml_tui.core.care import StoreProblem
    from quickserveml_tui.core.catalog import BulkReport, Deletion, ModelView, Resolved
    from quickserveml_tui.core.compatibility import Compatibility
    from quickserveml_tui.core.errors import QuickServeError
    from quickserveml_tui.core.facts import LayerPage, ModelFacts
    from quickserveml_tui.core.models import ModelRecord, TrashEntry, TrialReport, VersionRecord
    from quickserveml_tui.core.predictions import BatchResult
    from quickserveml_tui.core.tensors import TensorSpec


def plain(value: Any) -> Any:
    """Domain types as what JSON holds; non-finite numbers become null."""
    return _finite(msgspec.to_builtins(value))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def version_document(model: ModelRecord, version: VersionRecord, *, p50_ms: float | None = None) -> dict[str, Any]:
    """One version of a model, flat."""
    return {
        "name": model.name,
        "version": version.version,
        "digest": version.artifact.digest,
        "size_bytes": version.artifact.size_bytes,
        "state": version.state.value,
        "aliases": list(model.aliases_of(version.version)),
        "tags": list(model.tags),
        "categories": list(model.categories),
        "label": version.label,
        "runnable": version.runnable,
        "reason": version.trial.reason,
        "status": version.status,
        "quarantined": version.trial.quarantined,
        "task": model.task,
        "params": version.facts.params,
        "nodes": version.facts.nodes,
        "p50_ms": p50_ms,
        "created_at": version.created_at,
        "linked": version.artifact.is_linked,
        "golden": len(version.golden),
    }


def model_document(view: ModelView, number: int | None = None) -> dict[str, Any]:
    """A model by its latest or the given version; a model without versions has null where a version would tell."""
    model = view.model
    version = model.version(number) if number is not None else model.latest
    if version is None:
        empty: dict[str, Any] = {"version": None, "digest": None, "size_bytes": 0, "state": "empty", "aliases": []}
        return {"name": model.name, **empty, "tags": list(model.tags), "categories": list(model.categories)}
    return version_document(model, version, p50_ms=view.p50_ms(version.version))


def show_document(
    view: ModelView, number: int | None = None, compatibility: Compatibility | None = None
) -> dict[str, Any]:
    """A version with all that is known of its model."""
    model = view.model
    version = model.version(number) if number is not None else model.latest
    return model_document(view, number) | {
        "id": model.id,
        "rev": model.rev,
        "author": model.author,
        "description": model.description,
        "framework": model.framework,
        "license": model.license,
        "metadata": model.metadata | (version.metadata if version else {}),
        "notes": version.notes if version else "",
        "source": version.source if version else "",
        "version_metadata": dict(version.metadata) if version else {},
        "updated_at": model.updated_at,
        "versions": [version_document(model, item, p50_ms=view.p50_ms(item.version)) for item in model.versions],
        "alias_targets": dict(model.aliases),
        "alias_history": plain(model.alias_history),
        "protected": protected_aliases(model),
        "lineage": plain(version.lineage if version else Lineage()),
        "trial": trial_document(version.trial) if version else None,
        "feed": plain(version.feed if version else FeedSpec()),
        "links": [file.link.path for file in version.artifact.files if file.link] if version else [],
        "compatibility": compatibility_document(compatibility),
    }


def trial_document(report: TrialReport) -> dict[str, Any]:
    """What a trial found."""
    document: dict[str, Any] = plain(report)
    return document | {"quarantined": report.quarantined}


def protected_aliases(model: ModelRecord) -> list[str]:
    """The aliases of a model that are protected, sorted."""
    own = {alias.lower() for alias in (*PROTECTED_ALIASES, *model.protected)}
    return sorted(alias for alias in model.aliases if alias.lower() in own)


def alias_history_document(model: ModelRecord, alias: str) -> dict[str, Any]:
    """Where the aliases of a model, or one of them, point and pointed, oldest move first."""
    moves = [event for event in model.alias_history if alias in ("", event.alias)]
    return {
        "name": model.name,
        "alias_targets": dict(model.aliases),
        "protected": protected_aliases(model),
        "alias_history": plain(moves),
    }


def deletion_document(deletion: Deletion) -> dict[str, Any]:
    """What went to the trash."""
    entry, left = deletion.entry, deletion.left
    return {
        "deleted": entry.title,
        "versions_left": len(left.versions) if left else 0,
        "trash_id": entry.id,
        "restore": f"quickserveml restore {entry.id}",
    }


def trash_document(entry: TrashEntry) -> dict[str, Any]:
    """An entry of the trash."""
    artifacts = {item.artifact.digest: item.artifact.size_bytes for item in entry.versions}
    return {
        "id": entry.id,
        "kind": entry.kind.value,
        "title": entry.title,
        "name": entry.name,
        "version": entry.version.version if entry.version else None,
        "versions": len(entry.versions),
        "size_bytes": sum(artifacts.values()),
        "aliases": sorted(entry.model.aliases if entry.model else entry.aliases),
        "deleted_at": entry.deleted_at,
    }


def bulk_document(report: BulkReport) -> dict[str, Any]:
    """What a change of many models did, or would do."""
    return {
        "dry_run": report.dry_run,
        "changed": report.changed,
        "refused": report.refused,
        "items": plain(report.items),
    }


def tensor_document(spec: TensorSpec) -> dict[str, Any]:
    """An input or output: an unknown dim is its name or null."""
    return spec.to_doc()


def compatibility_document(compatibility: Compatibility | None) -> dict[str, Any] | None:
    """A model beside what the runtime takes; null where nobody asked the runtime."""
    return None if compatibility is None else {"ok": compatibility.ok, **plain(compatibility)}


def inspect_document(
    resolved: Resolved, facts: ModelFacts, trial: TrialReport | None, compatibility: Compatibility | None = None
) -> dict[str, Any]:
    """Facts of a model; `runnable` is null where nobody tried."""
    return {
        "ref": resolved.ref,
        "digest": resolved.digest,
        "ir_version": facts.ir_version,
        "opsets": dict(facts.opsets),
        "producer": facts.producer,
        "graph_name": facts.graph_name,
        "inputs": [tensor_document(spec) for spec in facts.inputs],
        "outputs": [tensor_document(spec) for spec in facts.outputs],
        "nodes": facts.nodes,
        "params": facts.params,
        "macs": facts.macs,
        "size_bytes": facts.size_bytes,
        "weight_dtypes": dict(facts.weight_dtypes),
        "op_types": dict(facts.op_types),
        "functions": facts.functions,
        "metadata": dict(facts.metadata),
        "doc": facts.doc,
        "warnings": list(facts.warnings),
        "runnable": None if trial is None else trial.outcome.value == "ready",
        "reason": "" if trial is None else trial.reason,
        "trial": None if trial is None else trial_document(trial),
        "compatibility": compatibility_document(compatibility),
    }


def layers_document(page: LayerPage) -> dict[str, Any]:
    """A part of the layer table."""
    return {"layers": plain(page.rows), "total": page.total, "offset": page.offset}


def benchmark_document(run: BenchmarkRun, save_error: QuickServeError | None = None) -> dict[str, Any]:
    """A benchmark run, its summary flat, and what kept it from being saved."""
    summary = plain(run.summary)
    del summary["peak_rss_bytes"]
    return {
        "id": run.id,
        "ref": run.ref,
        "model": run.model,
        "version": run.version,
        "created_at": run.created_at,
        **summary,
        "peak_rss_mb": run.summary.peak_rss_mb,
        "fingerprint": plain(run.fingerprint),
        "spec": plain(run.spec),
        "samples_digest": run.samples_digest,
        "command": run.command,
        "metadata": dict(run.metadata),
        "capped": run.capped,
        "saved": bool(run.samples_digest),
        "save_error": None if save_error is None else error_entry(save_error),
    }


def batch_document(result: BatchResult) -> dict[str, Any]:
    """The result of a batch; `metrics` is null where there was no ground truth."""
    document: dict[str, Any] = plain(result)
    metrics = {key: document.pop(key) for key in ("accuracy", "correct", "confusion", "classes")}
    command = result.command
    return document | {"command": command, "metrics": None if result.accuracy is None else metrics}


def list_document(
    views: Sequence[ModelView], next_page_token: str, total: int, problems: Sequence[StoreProblem] = ()
) -> dict[str, Any]:
    """A page of the catalog; `problems` says when it came from stores that cannot be used in full."""
    return {
        "models": [model_document(view) for view in views],
        "next_page_token": next_page_token,
        "total": total,
        "problems": plain(tuple(problems)),
    }


def error_entry(error: Any) -> dict[str, str]:
    """The error part of one failed item among several."""
    from quickserveml_tui.cli.front import invocation

    document: dict[str, dict[str, str]] = error.to_doc()
    entry = {key: safe_text(value) for key, value in document["error"].items()}
    return entry | ({"detail": safe_lines(error.detail)} if invocation.verbose else {})
