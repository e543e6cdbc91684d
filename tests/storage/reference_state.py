"""The state database in memory: what every back end must behave like."""

from __future__ import annotations


class MemoryState:
    """`StateStore` in dicts by id."""

    def __init__(self):
        self._runs = {}
        self._batches = {}
        self._writes = 0

    def generation(self):
        return str(self._writes)

    def add_benchmark(self, run):
        self._runs[run.id] = run
        self._writes += 1

    def benchmark(self, run_id):
        return self._runs.get(run_id)

    def benchmarks(self, model=None, version=None, limit=100):
        runs = [run for run in self._runs.values() if model in (None, run.model) and version in (None, run.version)]
        return tuple(self._newest_first(runs)[:limit])

    def newest_benchmarks(self):
        newest = {}
        for run in self._newest_first(self._runs.values()):
            if run.model and run.version is not None and not run.summary.cancelled:
                newest.setdefault(run.model, {}).setdefault(run.version, run)
        return newest

    def add_batch(self, result):
        self._batches[result.id] = result
        self._writes += 1

    def batches(self, limit=100):
        return tuple(self._newest_first(self._batches.values())[:limit])

    @staticmethod
    def _newest_first(items):
        return sorted(items, key=lambda item: item.created_at)[::-1]
