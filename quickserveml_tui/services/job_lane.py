"""The lane: one measured job at a time on a home, the oldest that waits first."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from quickserveml_tui.core.job_records import JobRecord, Lease
from quickserveml_tui.core.jobs import JobState, Progress
from quickserveml_tui.core.stores import StateStore
from quickserveml_tui.services.job_process import ProcessName, is_lost

LANE = "lane"
LEASE_TTL_S = 15.0
WAITING = "waiting"
"""Phase of a job whose process stands before the lane."""
_MAX_WAITING = 1000


def lease_of(job_id: str) -> str:
    """Name of the lease that the process which runs a job holds."""
    return f"job:{job_id}"


def claim(state: StateStore, name: str, owner: ProcessName, note: str = "") -> Lease | None:
    """Claim a lease; one whose holder is seen to be dead is taken over at once.

    Returns None when it is ours now, else the lease of whoever holds it.
    """
    held = state.acquire_lease(name, str(owner), LEASE_TTL_S, note=note)
    if held is not None and is_dead(held):
        state.release_lease(name, held.owner)  # nothing happens if another has taken it over meanwhile
        held = state.acquire_lease(name, str(owner), LEASE_TTL_S, note=note)
    return held


def is_dead(lease: Lease) -> bool:
    """Whether the holder of a lease is seen to be gone."""
    holder = ProcessName.parse(lease.owner)
    return holder is not None and holder.can_be_seen and not holder.is_alive


class Lane:
    """The way of one job to the lane."""

    def __init__(self, state: StateStore, owner: ProcessName) -> None:
        self._state = state
        self._owner = owner

    def try_enter(self, record: JobRecord) -> str:
        """Enter if the lane is free and no older job waits; else the id of the job that comes before, or its holder.

        Empty when the lane is ours now. Whoever asks again does so with the lane's lease already his.
        """
        leases = {lease.name: lease for lease in self._state.leases()}
        now = time.time()
        held = leases.get(LANE)
        if held is not None and held.owner != str(self._owner) and held.live(now) and not is_dead(held):
            return held.note or "another job"
        for other in self._state.jobs(states=[JobState.QUEUED], limit=_MAX_WAITING):
            if self._is_before(other, record, leases, now):
                return other.id
        taken = claim(self._state, LANE, self._owner, note=record.id)
        return "" if taken is None else taken.note or "another job"

    def _is_before(self, other: JobRecord, record: JobRecord, leases: dict[str, Lease], now: float) -> bool:
        if other.progress.phase != WAITING or (other.created_at, other.id) >= (record.created_at, record.id):
            return False
        if ProcessName.of(other) == self._owner or is_lost(other, leases, now):
            return False
        lease = leases.get(lease_of(other.id))
        return lease is not None and lease.live(now)  # one that was stopped holds nobody up

    def leave(self) -> None:
        """Give the lane back."""
        self._state.release_lease(LANE, str(self._owner))


def waiting_for(before: str, subject_of: Callable[[str], str]) -> Progress:
    """What a job that waits says."""
    subject = subject_of(before)
    return replace(Progress(WAITING), note=f"for {before}" + (f", {subject}" if subject else ""))
