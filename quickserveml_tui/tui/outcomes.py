"""What became of a job, in one sentence."""

from __future__ import annotations

from quickserveml_tui.core.benchmarks import BenchmarkRun
from quickserveml_tui.core.care import BackupInfo, BundleInfo, CheckReport, CollectReport
from quickserveml_tui.core.catalog import AddResult, ModelView
from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.core.golden import GoldenReport
from quickserveml_tui.core.jobs import JobState
from quickserveml_tui.core.models import GoldenOutput, TrialReport
from quickserveml_tui.core.predictions import BatchResult
from quickserveml_tui.core.text import plural
from quickserveml_tui.core.units import format_bytes, significant
from quickserveml_tui.tui.flows.values import ShownRun
from quickserveml_tui.tui.jobs import UiJob
from quickserveml_tui.tui.sheets.golden import report_words
from quickserveml_tui.tui.sheets.runs import latency_unit
from quickserveml_tui.tui.sheets.trial import reason_of


def outcome_words(job: UiJob, error: QuickServeError | None) -> str:
    """What a job gave, or why it gave nothing."""
    result = job.result
    if isinstance(result, BenchmarkRun):
        summary = result.summary
        unit = latency_unit(summary.latency_ms.p50)
        words = f"p50 {unit.text(summary.latency_ms.p50)} {unit.name} over {plural(summary.n, 'run')}"
        return f"cancelled; kept {words}" if summary.cancelled else words
    if isinstance(result, BatchResult):
        words = plural(result.rows, "row")
        if result.accuracy is not None:
            words = f"{100 * result.accuracy:.1f} % of {words} right"
        if result.failed:
            words += f", {result.failed:,} set apart"
        return f"cancelled after {words}" if result.cancelled else words
    if job.state is JobState.CANCELLED:
        return "cancelled, nothing was kept"
    if error is not None:
        return error.message
    if isinstance(result, AddResult):
        ref = f"{result.model.name}@{result.version.version}"
        if result.existed:
            return f"{ref} holds this very file already"
        if result.version.runnable:
            return f"made {ref}; {result.warning}" if result.warning else f"made {ref}"
        return f"made {ref}; it cannot run: {result.trial.reason} w says more"
    if isinstance(result, int):
        return f"added {plural(result, 'demo version')}" if result else "found every demo model in place"
    return _model_words(job, result) or _care_words(result) or "done"


def _model_words(job: UiJob, result: object) -> str:
    if isinstance(result, GoldenReport):
        return report_words(result)
    if isinstance(result, GoldenOutput):
        return f"kept {result.name} of {job.subject}"
    trial = _trial_of(job)
    if trial is not None:
        reason = reason_of(trial)
        return f"found {job.subject} cannot run: {reason}" if reason else f"found {job.subject} ready"
    if isinstance(result, ShownRun):
        prediction = result.prediction
        return f"gave {plural(len(prediction.outputs), 'output')} in {significant(prediction.latency_ms)} ms"
    return ""


def _trial_of(job: UiJob) -> TrialReport | None:
    """What a trial found, of a file or of a registered version."""
    if isinstance(job.result, ModelView):
        version = job.result.model.version(int(str(job.detail).rpartition("@")[2] or 0))
        return version.trial if version is not None else None
    return job.result if isinstance(job.result, TrialReport) else None


def is_good(job: UiJob) -> bool:
    """Whether what a job gave is what one hoped for: a version that cannot run or an output that differs is not."""
    result, trial = job.result, _trial_of(job)
    if isinstance(result, GoldenReport):
        return result.ok
    if isinstance(result, AddResult):
        return result.version.runnable and not result.warning
    return trial is None or not reason_of(trial)


def _care_words(result: object) -> str:
    if isinstance(result, BundleInfo):
        return f"wrote {result.path}, {format_bytes(result.size_bytes)}"
    if isinstance(result, BackupInfo):
        return f"made generation {result.id}, {format_bytes(result.new_bytes)} copied"
    if isinstance(result, CheckReport):
        found = plural(len(result.findings), "finding")
        return "found nothing wrong" if result.clean and not result.findings else f"ended with {found}"
    if isinstance(result, CollectReport):
        return collect_words(result).rstrip(".") if is_worth_collecting(result) else "found nothing to remove"
    return ""


def is_worth_collecting(report: CollectReport) -> bool:
    """Whether a collection removes anything."""
    return bool(report.blobs or report.uploads or report.cache_entries or report.rows)


def collect_words(report: CollectReport) -> str:
    """`3 files with 4 MB that nothing needs, 2 cached models are removed.`"""
    parts = []
    if report.blobs:
        parts.append(f"{plural(report.blobs, 'file')} with {format_bytes(report.blob_bytes)} that nothing needs")
    if report.uploads:
        parts.append(plural(report.uploads, "unfinished upload"))
    if report.cache_entries:
        parts.append(
            f"{plural(report.cache_entries, 'cached copy', 'cached copies')} of {format_bytes(report.cache_bytes)}"
        )
    if report.rows:
        parts.append(plural(report.rows, "old row"))
    young = f" {plural(report.young, 'file')} more are too young to go." if report.young else ""
    return f"{'Would remove' if report.dry_run else 'removed'} {', '.join(parts)}.{young}"


def select_after(job: UiJob) -> str:
    """Where the cursor goes after a job: to what it added."""
    if isinstance(job.result, AddResult):
        return f"{job.result.model.name}@{job.result.version.version}"
    return str(job.detail or "") if job.kind == "demo" else ""
