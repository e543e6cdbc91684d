"""Whether the registry and the state database can be read, and what their rows say."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from quickserveml_tui.core.care import CheckFinding, Severity, StoreProblem
from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.core.jobs import JobState
from quickserveml_tui.core.stores import RegistryStore, StateStore
from quickserveml_tui.core.text import plural, safe_text

MAX_ROWS = 10_000
_MENDABLE = ("store.corrupt", "store.gone")
_MISSING = " If something is missing, quickserveml restore-backup brings back a whole backup."


@runtime_checkable
class Repairable(Protocol):
    """A store that can rebuild itself from what can be read of it."""

    def repair(self) -> str:
        """Rebuild it; one sentence on what was done."""
        ...


def mend_stores(home: Path, registry: RegistryStore, state: StateStore, *, repair: bool) -> list[CheckFinding]:
    """What the stores say about themselves; a damaged one is rebuilt when asked to."""
    findings = []
    for name, store in (("registry", registry), ("state", state)):
        problem = _problem(name, store)
        if problem is None and repair and store is state:
            problem = _damage_further_on(state)
        if problem is None:
            continue
        if repair and problem.code in _MENDABLE and isinstance(store, Repairable):
            findings.append(_repaired(name, store, problem))
        else:
            severity = Severity.WARNING if problem.code in ("store.read_only", "store.locked") else Severity.ERROR
            hint = f"Repair it with {problem.command}." if problem.command else problem.hint
            findings.append(CheckFinding(name, problem.code, severity, name, problem.message, hint))
    findings += _gone(home)
    if (home / "restore.json").exists():
        findings.append(
            CheckFinding(
                "home",
                "restore.pending",
                Severity.ERROR,
                "restore",
                "A restore was interrupted before it was complete.",
                "The next command that opens the home completes it.",
            )
        )
    return findings


def _gone(home: Path) -> list[CheckFinding]:
    """Whether the state database is gone although copies of it were kept; the registry says this of itself."""
    kept = sorted(path.name for path in (home / "backups").glob("state-*"))
    if not kept or (home / "state.db").exists():
        return []
    message = "state.db is gone, so the state reads as empty; copies of it were kept."
    hint = f"Copy backups/{kept[-1]} in its place, or restore a backup with quickserveml restore-backup."
    return [CheckFinding("state", "store.gone", Severity.ERROR, "state.db", message, hint)]


def _problem(name: str, store: RegistryStore | StateStore) -> StoreProblem | None:
    try:
        return store.problem()
    except QuickServeError as error:
        return StoreProblem(name, error.code, error.message, error.hint)


def _damage_further_on(state: StateStore) -> StoreProblem | None:
    """What a look at every row finds, which `problem` does not do."""
    try:
        found = state.check()
    except QuickServeError:
        return None  # a lock or the like: no damage
    return StoreProblem("state", "store.corrupt", _as_one(found)) if found else None


def _as_one(found: Sequence[str]) -> str:
    """One sentence for all that the check of a damaged database says."""
    more = f" (and {len(found) - 1:,} more)" if len(found) > 1 else ""
    return f"The state database is damaged: {safe_text(found[0], 300)}{more}"


def _repaired(name: str, store: Repairable, problem: StoreProblem) -> CheckFinding:
    try:
        done = store.repair()
    except QuickServeError as error:
        return CheckFinding(
            name, problem.code, Severity.ERROR, name, f"{problem.message} It could not be repaired: {error.message}",
            error.hint,
        )  # fmt: skip
    message = f"{problem.message} {done}{_MISSING if name == 'registry' else ''}"
    return CheckFinding(name, problem.code, Severity.ERROR, name, message, repaired=True)


def check_state(state: StateStore, model_ids: Collection[str]) -> tuple[int, list[CheckFinding]]:
    """How many rows were looked at, and what was found in them."""
    from quickserveml_tui.services.job_outcome import judged

    findings: list[CheckFinding] = []
    try:
        found = state.check()
        if found:
            findings.append(
                CheckFinding(
                    "state",
                    "state.damaged",
                    Severity.ERROR,
                    "state database",
                    _as_one(found),
                    "Repair it with quickserveml fsck --repair.",
                )
            )
        runs = state.benchmarks(limit=MAX_ROWS)
        batches, jobs = state.batches(limit=MAX_ROWS), judged(state, state.jobs(limit=MAX_ROWS))
    except QuickServeError as error:
        if findings:  # that is the same damage
            return 0, findings
        return 0, [
            CheckFinding("state", error.code, Severity.ERROR, "state database", error.message, error.hint),
        ]
    orphans = sum(bool(run.model) and run.model not in model_ids for run in runs)
    if orphans:
        findings.append(
            CheckFinding(
                "state",
                "state.orphan_runs",
                Severity.INFO,
                plural(orphans, "run"),
                f"{plural(orphans, 'benchmark run')} of models that are not in the registry.",
                "They go by age when rows beyond retention are collected.",
            )
        )
    lost = [job.id for job in jobs if job.state is JobState.LOST]
    if lost:
        findings.append(
            CheckFinding(
                "state",
                "job.lost",
                Severity.WARNING,
                lost[0] if len(lost) == 1 else plural(len(lost), "job"),
                f"{plural(len(lost), 'job')} ended without a word.",
                "quickserveml job resume ID starts one again, quickserveml job clean forgets them.",
            )
        )
    return len(runs) + len(batches) + len(jobs), findings
