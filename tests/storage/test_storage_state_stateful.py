"""Whatever is done to the state database, it answers like the reference in memory."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from reference_state import MemoryState
from storage_clocks import SetClock
from storage_samples import make_batch, make_job, make_run

from quickserveml_tui.core.clock import utc_days_ago
from quickserveml_tui.core.jobs import JobState, Progress
from quickserveml_tui.storage.state import SqliteState

MODELS = st.sampled_from(["m", "n", ""])
VERSIONS = st.sampled_from([1, 2, None])
IDS = st.sampled_from(["one", "two", "three", "four"])
NAMES = st.sampled_from(["x", "y"])
OWNERS = st.sampled_from(["a", "b"])
AGES = st.integers(0, 5)
STATES = st.sampled_from(list(JobState))
BASE = [utc_days_ago(day * 100 + 50) for day in range(6)]


class StateMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        self.path = Path(self.folder.name) / "state.db"
        self.clock = SetClock()
        self.real = SqliteState(self.path, clock=self.clock)
        self.reference = MemoryState(self.clock)
        self.both(lambda store: store.acquire_lease("first", "a", 1))  # the file that this creates is news by itself
        self.seen = self.generations()

    def generations(self):
        return self.real.generation(), self.reference.generation()

    def both(self, work):
        results = [work(store) for store in (self.real, self.reference)]
        assert results[0] == results[1]

    @rule(rows=st.lists(st.tuples(IDS, MODELS, VERSIONS, AGES, st.booleans()), max_size=3))
    def add_runs(self, rows):
        runs = [
            make_run(
                model,
                version,
                id=row_id,
                created_at=BASE[age],
                cancelled=is_partial,
                samples_digest=f"d{age}" if age % 2 else "",
            )
            for row_id, model, version, age, is_partial in rows
        ]
        self.both(lambda store: store.add_benchmarks(runs))

    @rule(row_id=IDS, age=AGES)
    def add_batch(self, row_id, age):
        result = make_batch(id=row_id, created_at=BASE[age])
        self.both(lambda store: store.add_batch(result))

    @rule(row_id=IDS, age=AGES, state=STATES)
    def add_job(self, row_id, age, state):
        job = make_job(id=row_id, created_at=BASE[age], state=state)
        self.both(lambda store: store.add_jobs([job]))

    @rule(row_id=IDS, state=STATES)
    def change_job(self, row_id, state):
        self.both(lambda store: store.change_job(row_id, lambda old: replace(old, state=state)))

    @rule(row_id=IDS, done=st.floats(0, 10))
    def report(self, row_id, done):
        self.both(lambda store: store.set_progress({row_id: Progress("measuring", done)}))

    @rule(row_id=IDS)
    def remove_job(self, row_id):
        self.both(lambda store: store.remove_jobs([row_id]))

    @rule(name=NAMES, owner=OWNERS)
    def acquire(self, name, owner):
        self.both(lambda store: held(store.acquire_lease(name, owner, 15, digests=[owner])))

    @rule(name=NAMES, owner=OWNERS)
    def renew(self, name, owner):
        self.both(lambda store: store.renew_lease(name, owner, 15))

    @rule(name=NAMES, owner=OWNERS)
    def release(self, name, owner):
        self.both(lambda store: store.release_lease(name, owner))

    @rule(seconds=st.sampled_from([4.0, 11.0, 16.0]))
    def go_on(self, seconds):
        self.clock.go_on(seconds)

    @rule(seconds=st.sampled_from([-1e6, 1e6]))
    def set_the_wall_clock(self, seconds):
        self.clock.wall_s += seconds

    @rule(keep=st.integers(0, 2), days=st.sampled_from([0.0, 200.0, 1000.0]), is_dry=st.booleans())
    def prune(self, keep, days, is_dry):
        self.both(lambda store: store.prune(keep_runs=keep, keep_days=days, dry_run=is_dry))

    @rule()
    def open_again(self):
        self.real.close()
        self.real = SqliteState(self.path, clock=self.clock)
        self.seen = self.generations()

    @precondition(lambda self: self.path.exists())
    @rule()
    def repair(self):
        self.real.repair()
        self.seen = self.generations()

    @invariant()
    def both_hold_the_same(self):
        for ask in (
            lambda store: store.benchmarks(),
            lambda store: store.benchmarks("m", 1),
            lambda store: store.newest_benchmarks(),
            lambda store: store.figures(),
            lambda store: store.batches(),
            lambda store: store.jobs(),
            lambda store: store.jobs(states=[JobState.RUNNING, JobState.LOST], limit=2),
            lambda store: [held(lease) for lease in store.leases()],
            lambda store: store.blobs(),
        ):
            assert ask(self.real) == ask(self.reference)

    @invariant()
    def the_generation_changes_alike(self):
        now = self.generations()
        assert (now[0] == self.seen[0]) == (now[1] == self.seen[1])
        self.seen = now

    def teardown(self):
        assert self.real.check() == ()
        self.real.close()
        self.folder.cleanup()


def held(lease):
    """A lease without the moment it was first claimed, its end in whole seconds."""
    return lease and replace(lease, acquired_at="", expires_at=round(lease.expires_at))


TestState = StateMachine.TestCase
TestState.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
