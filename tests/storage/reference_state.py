"""The state database in memory: what every back end must behave like."""

from __future__ import annotations

from dataclasses import replace

from quickserveml_tui.core.clock import instant, utc_days_ago, utc_now
from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.job_records import Lease
from quickserveml_tui.core.jobs import JobState
from quickserveml_tui.core.metric_history import KEEP_S, STEPS_S, coarsened, joined
from quickserveml_tui.storage.state_figures import figures_of

LIVE = (JobState.QUEUED, JobState.RUNNING)


class MemoryState:
    """`StateStore` in dicts by id."""

    def __init__(self, clock=instant):
        self._runs = {}
        self._batches = {}
        self._jobs = {}
        self._leases = {}
        self._results = {}
        self._rollups = []
        self._clock = clock
        self._writes = 0

    def generation(self):
        return str(self._writes)

    def problem(self):
        return None

    # ---- figures over time

    def add_rollups(self, rollups):
        found = {item.key: item for item in self._rollups}
        for item in rollups:
            found[item.key] = joined(found[item.key], item) if item.key in found else item
        self._rollups = list(found.values())

    def rollups(self, model, *, version="", since=0, until=2**62, limit=100_000):
        chosen = [r for r in self._rollups if r.model == model and version in ("", r.version) and since <= r.at < until]
        return tuple(sorted(chosen, key=lambda item: (item.at, item.version, item.step_s))[:limit])

    def thin_rollups(self, now, *, most=500_000):
        before = len(self._rollups)
        for step, longer, keep in zip(STEPS_S, STEPS_S[1:], KEEP_S, strict=False):
            cut = int(now - keep) // longer * longer
            old = [item for item in self._rollups if item.step_s == step and item.at < cut]
            self._rollups = [item for item in self._rollups if item not in old]
            self.add_rollups(coarsened(old, longer))
        kept = [item for item in self._rollups if item.at >= int(now - KEEP_S[-1])]
        self._rollups = sorted(kept, key=lambda item: item.at, reverse=True)[:most]
        return before - len(self._rollups)

    # ---- runs

    def add_benchmark(self, run):
        self.add_benchmarks([run])

    def add_benchmarks(self, runs):
        for run in runs:
            self._runs[run.id] = run
        self._writes += bool(runs)

    def remove_benchmark(self, run_id):
        removed = self._runs.pop(run_id, None) is not None
        self._writes += removed
        return removed

    def benchmark(self, run_id):
        return self._runs.get(run_id)

    def benchmarks(self, model=None, version=None, limit=100):
        runs = [run for run in self._runs.values() if model in (None, run.model) and version in (None, run.version)]
        return tuple(newest_first(runs)[: max(limit, 0)])

    def newest_benchmarks(self, models=None):
        newest = {}
        for run in newest_first(self._runs.values()):
            is_wanted = (models is None or run.model in models) and not run.origin
            if is_wanted and run.model and run.version is not None and not run.summary.cancelled:
                newest.setdefault(run.model, {}).setdefault(run.version, run)
        return newest

    def figures(self):
        return {
            model: {version: figures_of(run) for version, run in versions.items()}
            for model, versions in self.newest_benchmarks().items()
        }

    def add_batch(self, result):
        self._batches[result.id] = result
        self._writes += 1

    def remove_batch(self, result_id):
        removed = self._batches.pop(result_id, None) is not None
        self._writes += removed
        return removed

    def batch(self, result_id):
        return self._batches.get(result_id)

    def batches(self, limit=100):
        return tuple(newest_first(self._batches.values())[: max(limit, 0)])

    def add_result(self, result):
        self._results[result.id] = result
        self._writes += 1

    def remove_result(self, result_id):
        removed = self._results.pop(result_id, None) is not None
        self._writes += removed
        return removed

    def result(self, result_id):
        return self._results.get(result_id)

    def results(self, kind=None, model=None, version=None, limit=100):
        wanted = [
            item
            for item in self._results.values()
            if kind in (None, item.kind) and model in (None, item.model) and version in (None, item.version)
        ]
        return tuple(newest_first(wanted)[: max(limit, 0)])

    def blobs(self):
        leased = {digest for lease, ends in self._leases.values() for digest in lease.digests if self._left(ends) > 0}
        named = {digest for result in self._results.values() for digest in result.digests}
        return frozenset({run.samples_digest for run in self._runs.values()} - {""} | named | leased)

    # ---- jobs

    def add_jobs(self, records):
        self._jobs |= {record.id: record for record in records}
        self._writes += bool(records)

    def job(self, job_id):
        return self._jobs.get(job_id)

    def jobs(self, *, states=(), limit=100):
        return tuple(
            newest_first(job for job in self._jobs.values() if not states or job.state in states)[: max(limit, 0)]
        )

    def change_job(self, job_id, change):
        old = self._jobs.get(job_id)
        if old is None:
            return None
        new = replace(change(old), id=old.id, rev=old.rev)
        if new != old:
            self._writes += replace(new, progress=old.progress) != old
            new = self._jobs[job_id] = replace(new, rev=old.rev + 1)
        return new

    def set_progress(self, progress):
        live = [job_id for job_id in progress if job_id in self._jobs and self._jobs[job_id].state in LIVE]
        for job_id in live:
            old = self._jobs[job_id]
            self._jobs[job_id] = replace(old, progress=progress[job_id], rev=old.rev + 1)
        return len(live)

    def remove_jobs(self, job_ids):
        removed = [self._jobs.pop(job_id) for job_id in job_ids if job_id in self._jobs]
        self._writes += bool(removed)
        return len(removed)

    # ---- leases

    def acquire_lease(self, name, owner, ttl_s, *, note="", digests=()):
        if not 0 < ttl_s < float("inf"):
            raise ValueError("A lease cannot hold for such a time.")
        lease, ends = self._leases.get(name, (None, 0.0))
        if lease is not None and lease.owner != owner and self._left(ends) > 0:
            return replace(lease, expires_at=self._clock().wall_s + self._left(ends))
        is_ours = lease is not None and lease.owner == owner and self._left(ends) > 0
        since = lease.acquired_at if is_ours else utc_now()
        self._leases[name] = Lease(name, owner, 0.0, since, note, tuple(digests)), self._clock().boot_s + ttl_s
        return None

    def renew_lease(self, name, owner, ttl_s):
        lease, _ends = self._leases.get(name, (None, 0.0))
        if lease is None or lease.owner != owner:
            return False
        self._leases[name] = lease, self._clock().boot_s + ttl_s
        return True

    def release_lease(self, name, owner):
        if name in self._leases and self._leases[name][0].owner == owner:
            del self._leases[name]

    def leases(self):
        now = self._clock().wall_s
        return tuple(
            replace(lease, expires_at=now + self._left(ends)) for _, (lease, ends) in sorted(self._leases.items())
        )

    def _left(self, ends):
        return ends - self._clock().boot_s

    # ---- keeping

    def prune(self, *, keep_runs, keep_days, dry_run=False):
        newest = {run.id for versions in self.newest_benchmarks().values() for run in versions.values()}
        places = {}
        for run in self._runs.values():
            places.setdefault((run.model, run.version), []).append(run)
        groups = {}
        for item in self._results.values():
            if item.kind != "note":
                groups.setdefault((item.kind, item.model, item.version), []).append(item)
        ended = [job for job in self._jobs.values() if job.state not in LIVE]
        beyond = [
            (self._runs, {item.id for runs in places.values() for item in over(runs, keep_runs, keep_days)} - newest),
            (self._results, {item.id for items in groups.values() for item in over(items, keep_runs, keep_days)}),
            (self._batches, {item.id for item in over(self._batches.values(), keep_runs, keep_days)}),
            (self._jobs, {item.id for item in over(ended, keep_runs, keep_days)}),
        ]
        gone = [name for name, (_lease, ends) in self._leases.items() if self._left(ends) <= 0]
        if not dry_run:
            self._writes += any(ids for _, ids in beyond)
            for rows, ids in [*beyond, (self._leases, gone)]:
                for key in ids:
                    del rows[key]
        return sum(len(ids) for _, ids in beyond) + len(gone)

    def snapshot(self, target):
        if target.exists():
            raise StoreError("There is something.", code="store.exists")
        target.write_bytes(b"")

    def check(self):
        return ()

    def close(self):
        pass


def over(items, keep, days):
    return [item for item in newest_first(items)[max(keep, 0) :] if item.created_at < utc_days_ago(days)]


def newest_first(items):
    return sorted(items, key=lambda item: item.created_at)[::-1]
