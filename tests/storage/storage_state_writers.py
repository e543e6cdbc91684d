"""Processes that write to the state database until they are killed, or to the end."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from storage_samples import make_batch, make_job, make_run

from quickserveml_tui.core.clock import instant
from quickserveml_tui.core.jobs import JobState, Progress
from quickserveml_tui.storage.state import SqliteState


def mixed_writes(state, say, worker, count, *, hold_s=30.0):
    """Write runs, batches, jobs and leases; each is said once it is acknowledged, and each lease when it is held."""
    chance = random.Random(worker)
    for number in range(count):
        key = f"{worker}-{number}"
        kind = chance.choice(["run", "batch", "count", "count", "lease", "progress"])
        if kind == "run":
            state.add_benchmarks([make_run("m", number % 5 + 1, id=f"{key}-{part}") for part in "ab"])
            say(f"run {key}")
        elif kind == "batch":
            state.add_batch(make_batch(id=key))
            say(f"batch {key}")
        elif kind == "count":
            job = state.change_job("counter", lambda old: replace(old, attempt=old.attempt + 1))
            say(f"count {job.attempt}")
        elif kind == "progress":
            state.set_progress({"counter": Progress("counting", float(number))})
            state.jobs(states=[JobState.RUNNING])
        else:
            try_lease(state, say, worker, key, hold_s)


def try_lease(state, say, worker, key, hold_s):
    """Claim the one lease; while it is ours, say since and until when by the clock of the machine."""
    if state.acquire_lease("shared", worker, hold_s, digests=[key]) is not None:
        return
    since = instant().boot_s
    state.renew_lease("shared", worker, hold_s)
    until = instant().boot_s
    state.release_lease("shared", worker)
    say(f"held {since} {until} {worker}")


def write_until_killed(say, path, worker):
    """Say ready, then write for ever; the first run comes before anything else."""
    state = SqliteState(Path(path), busy_timeout_s=60)
    # A round killed in the middle of one may leave the lease: it ends by itself, soon.
    mixed_writes(state, say, worker, 100_000, hold_s=0.5)


def write_mixed(say, path, worker, count):
    """Write so many times."""
    state = SqliteState(Path(path), busy_timeout_s=60)
    mixed_writes(state, say, worker, count)
    state.close()


def migrate_and_say(say, path):
    """One write, to a database of the first schema."""
    SqliteState(Path(path)).add_jobs([make_job(id="job-first")])
    say("migrated")
