"""What became of jobs that were asked for together: one sentence, and the reasons in full."""

from __future__ import annotations

from collections.abc import Sequence

from quickserveml_tui.core.catalog import AddResult
from quickserveml_tui.core.errors import ModelError, QuickServeError
from quickserveml_tui.core.jobs import JobState
from quickserveml_tui.core.text import at_home, safe_text
from quickserveml_tui.tui.jobs import UiJob

MAX_REASONS = 100


def party_words(jobs: Sequence[UiJob]) -> str:
    """`27 added (13 cannot run), 2 known already, 23 rejected`."""
    results = [job.result for job in jobs if isinstance(job.result, AddResult)]
    fresh = [result for result in results if not result.existed]
    stuck = sum(not result.version.runnable for result in fresh)
    rejected = sum(job.state is JobState.FAILED for job in jobs)
    cancelled = sum(job.state is JobState.CANCELLED for job in jobs)
    words = [f"{len(fresh):,} added" + (f" ({stuck:,} cannot run)" if stuck else "")]
    counts = ((len(results) - len(fresh), "known already"), (rejected, "rejected"), (cancelled, "cancelled"))
    return ", ".join([*words, *(f"{count:,} {word}" for count, word in counts if count)])


def party_error(jobs: Sequence[UiJob], home: str = "") -> QuickServeError | None:
    """One error for all that failed, with what each said as its detail; None where none did."""
    failed = [job for job in jobs if job.state is JobState.FAILED and job.error is not None]
    if not failed:
        return None
    reasons = [
        f"{safe_text(job.subject, 200)}: {_reason(job.error, home)}" for job in failed[:MAX_REASONS] if job.error
    ]
    if len(failed) > MAX_REASONS:
        reasons.append(f"and {len(failed) - MAX_REASONS:,} more; 4 lists them.")
    return ModelError(f"{party_words(jobs)}.", hint="4 lists each of them.", detail="\n\n".join(reasons))


def _reason(error: QuickServeError, home: str) -> str:
    return at_home(f"{error.message} {error.hint}".strip(), home)
