"""A lease is kept while its owner lives, and progress reaches the database without a commit for every step."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from quickserveml_tui.core.benchmarks import BenchmarkSpec
from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import ConflictError, StoreError
from quickserveml_tui.core.job_records import JobKind, JobRecord, JobRequest
from quickserveml_tui.core.jobs import JobState, Progress
from quickserveml_tui.services.leases import LeaseKeeper, holding, new_owner
from quickserveml_tui.storage.state import SqliteState

DEADLINE_S = 30.0


@pytest.fixture
def state(tmp_path):
    state = SqliteState(tmp_path / "home" / "state.db")
    yield state
    state.close()


def until(condition):
    """Wait for a condition."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


class Watched:
    """A store that counts renewals and may be told to fail."""

    def __init__(self, state):
        self._state = state
        self.renewals = 0
        self.failures = 0
        self.error = None

    def __getattr__(self, name):
        return getattr(self._state, name)

    def renew_lease(self, *args):
        if self.error is not None:
            self.failures += 1
            raise self.error
        self.renewals += 1
        return self._state.renew_lease(*args)


LOCKED = StoreError("busy", hint="wait", code="store.locked")


def test_a_kept_lease_is_renewed_and_given_back(state):
    watched = Watched(state)
    with LeaseKeeper(watched, "job-1", ttl_s=1.5, note="runs", digests=["d"]) as keeper:
        assert keeper.held
        until(lambda: watched.renewals >= 2)
        assert state.acquire_lease("job-1", "other", 5).owner == keeper.owner
        assert state.blobs() == {"d"}
        assert not keeper.lost.is_set()
    assert not keeper.held
    assert state.leases() == ()
    keeper.stop()


def test_a_lease_that_another_has_is_not_taken(state):
    state.acquire_lease("job-1", "other", 60)
    keeper = LeaseKeeper(state, "job-1")
    assert keeper.start().owner == "other"
    assert not keeper.held
    keeper.stop()
    with pytest.raises(ConflictError) as caught, LeaseKeeper(state, "job-1"):
        pass
    assert caught.value.code == "lease.held"
    assert state.leases()[0].owner == "other"


def test_a_lease_that_was_taken_away_is_lost_for_good(state):
    keeper = LeaseKeeper(state, "job-1", ttl_s=0.3)
    keeper.start()
    state.release_lease("job-1", keeper.owner)
    state.acquire_lease("job-1", "other", 60)
    assert keeper.lost.wait(DEADLINE_S)
    assert not keeper.held
    keeper.stop()
    assert state.leases()[0].owner == "other"


def test_a_database_that_is_busy_for_a_while_does_not_lose_the_lease(state):
    watched = Watched(state)
    with LeaseKeeper(watched, "job-1", ttl_s=6.0) as keeper:
        keeper._stopping.set()  # renew now: end the thread and start one with a short time
        keeper._thread.join(DEADLINE_S)
        keeper._stopping.clear()
        watched.error = LOCKED
        keeper.ttl_s = 1.5
        keeper._thread = threading.Thread(target=keeper._keep, daemon=True)
        keeper._thread.start()
        until(lambda: watched.failures >= 3)
        watched.error = None
        until(lambda: watched.renewals >= 1)
        assert not keeper.lost.is_set()
        assert keeper.held


def test_a_lease_that_ran_out_unrenewed_is_lost(state):
    watched = Watched(state)
    keeper = LeaseKeeper(watched, "job-1", ttl_s=0.2)
    keeper.start()
    watched.error = LOCKED
    assert keeper.lost.wait(DEADLINE_S)
    assert watched.failures >= 2
    keeper.stop()


def test_a_name_of_ones_own_is_claimed_anew(state):
    with LeaseKeeper(state, "serve:me", "me", ttl_s=0.3, reclaim=True) as keeper:
        state.release_lease("serve:me", "me")
        until(state.leases)
        assert not keeper.lost.is_set()


def test_a_keeper_that_cannot_give_back_does_not_raise(state):
    class Refusing(Watched):
        def release_lease(self, *args):
            raise LOCKED

    keeper = LeaseKeeper(Refusing(state), "job-1", ttl_s=60)
    keeper.start()
    keeper.stop()
    assert len(state.leases()) == 1


def test_owners_are_never_the_same():
    assert len({new_owner() for _ in range(100)}) == 100


# ---- what is in use -------------------------------------------------------------------------------------------------


def resolved(*digests):
    version = SimpleNamespace(blobs=frozenset(digests), artifact=SimpleNamespace(digest="manifest"))
    return SimpleNamespace(version=version)


def test_what_is_served_is_held_for_as_long(state):
    with holding(state, [resolved("a", "b"), SimpleNamespace(version=None)], "serve"):
        assert state.blobs() == {"a", "b", "manifest"}
        assert state.leases()[0].note == "serve"
    assert state.leases() == ()


def test_a_file_that_is_not_registered_needs_no_lease(state, tmp_path):
    with holding(state, [SimpleNamespace(version=None)], "serve"):
        assert not (tmp_path / "home").exists()


def test_a_home_for_reading_serves_without_a_lease(state, tmp_path, caplog):
    state.add_jobs([make_job()])
    with holding(SqliteState(tmp_path / "home" / "state.db", read_only=True), [resolved("a")], "serve"):
        assert state.leases() == ()
    assert "not kept from being collected" in caplog.text


def make_job(**fields):
    request = JobRequest(JobKind.BENCHMARK, "m@1", benchmark=BenchmarkSpec())
    return JobRecord(
        **(
            {
                "id": "job-1",
                "request": request,
                "subject": "m@1",
                "state": JobState.RUNNING,
                "progress": Progress("queued"),
                "created_at": utc_now(),
            }
            | fields
        )
    )
