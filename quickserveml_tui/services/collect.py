"""Garbage collection over all stores of a home."""

from __future__ import annotations

import time
from dataclasses import replace

from quickserveml_tui.core.care import CarePolicy, CollectReport
from quickserveml_tui.core.clock import utc_days_ago
from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.models import TrashEntry
from quickserveml_tui.core.stores import ArtifactStore, RegistryEdit, RegistryStore, StateStore

DAY_S = 86_400.0


def collect(
    registry: RegistryStore,
    artifacts: ArtifactStore,
    state: StateStore,
    policy: CarePolicy,
    *,
    dry_run: bool = False,
    grace_s: float | None = None,
    cancel: CancelToken | None = None,
) -> CollectReport:
    """Purge old trash, remove rows beyond retention, then the files that nothing needs any more.

    `grace_s` None takes the policy's. A dry run changes nothing; the raw samples of runs that would go are not counted
    in it. Raises `StoreError` while a backup, a check or another collection runs, and when a store cannot be read in
    full: what is needed is then not known. What was purged before an error stays purged.
    """
    token = cancel or CancelToken()
    _check_readable(registry, state)
    if not dry_run:
        with artifacts.guard("collection"):  # nothing is purged for a collection that cannot run
            pass
    expired = _purge(registry, utc_days_ago(policy.trash_s / DAY_S), dry_run=dry_run)
    token.raise_if_cancelled()
    rows = state.prune(keep_runs=policy.keep_runs, keep_days=policy.keep_days, dry_run=dry_run)
    token.raise_if_cancelled()

    def needed() -> frozenset[str]:
        blobs = _blobs_without(registry, expired) if dry_run and expired else registry.blobs()
        blobs |= state.blobs()
        _check_readable(registry, state)
        return blobs

    report = artifacts.collect(
        needed,
        grace_s=policy.grace_s if grace_s is None else grace_s,
        cache_budget_bytes=policy.cache_budget_bytes,
        pinned=_leased(state),
        dry_run=dry_run,
        cancel=token,
    )
    return replace(report, rows=rows, trash=len(expired))


def _check_readable(registry: RegistryStore, state: StateStore) -> None:
    """Raises `StoreError` for a store that is read from an older copy, or only in part."""
    for problem in (registry.problem(), state.problem()):
        if problem is not None and problem.code != "store.read_only":
            raise StoreError(
                f"Nothing was collected: {problem.message}",
                hint=f"Repair it first: {problem.command}" if problem.command else problem.hint,
                code=problem.code,
            )


def _purge(registry: RegistryStore, oldest: str, *, dry_run: bool) -> frozenset[str]:
    """Ids of the trash entries from before `oldest`, which are forgotten unless this is a dry run."""

    def is_expired(entry: TrashEntry) -> bool:
        return entry.deleted_at < oldest

    def work(edit: RegistryEdit) -> frozenset[str]:
        found = frozenset(entry.id for entry in edit.trash() if is_expired(entry))
        for entry_id in found:
            edit.remove_trash(entry_id)
        return found

    seen = frozenset(entry.id for entry in registry.trash() if is_expired(entry))
    return registry.edit(work) if seen and not dry_run else seen


def _blobs_without(registry: RegistryStore, expired: frozenset[str]) -> frozenset[str]:
    """What models and the trash need once these entries are forgotten."""
    versions = [version for model in registry.models() for version in model.versions]
    versions += [version for entry in registry.trash() if entry.id not in expired for version in entry.versions]
    return frozenset().union(*(version.blobs for version in versions))


def _leased(state: StateStore) -> frozenset[str]:
    now = time.time()
    return frozenset(digest for lease in state.leases() if lease.live(now) for digest in lease.digests)
