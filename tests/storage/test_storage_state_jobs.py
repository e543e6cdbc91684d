"""Jobs and leases: every state store keeps the promises of `StateStore` about them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from reference_state import MemoryState
from storage_clocks import SetClock
from storage_samples import make_batch, make_job, make_run

from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.jobs import JobState, Progress
from quickserveml_tui.storage.state import SqliteState


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / "state.db"


@pytest.fixture(params=["memory", "sqlite"])
def state(request, path, clock):
    store = MemoryState(clock) if request.param == "memory" else SqliteState(path, clock=clock)
    yield store
    store.close()


def raise_it(error):
    raise error


# ---- jobs -----------------------------------------------------------------------------------------------------------


def test_a_job_comes_back_as_it_was_kept(state):
    job = make_job(progress=Progress("measuring", 3.0, 10.0, note="x[/]y"))
    state.add_jobs([job])
    assert state.job(job.id) == job
    assert state.jobs() == (job,)
    assert state.job("job-none") is None


def test_jobs_are_kept_together_or_not_at_all(state, path):
    state.add_jobs([])
    assert state.generation() == "0"
    jobs = [make_job(f"2026-01-0{day}T00:00:00.000Z") for day in (2, 1, 3)]
    state.add_jobs(jobs)
    assert state.jobs() == (jobs[2], jobs[0], jobs[1])
    assert state.jobs(limit=1) == (jobs[2],)
    if isinstance(state, SqliteState):
        with pytest.raises(StoreError, match="NaN"):
            state.add_jobs([make_job(), make_job(progress=Progress("x", float("nan")))])
        assert len(state.jobs()) == 3


def test_jobs_are_found_by_state(state):
    jobs = {name: make_job(state=name) for name in JobState}
    state.add_jobs(list(jobs.values()))
    assert state.jobs(states=[JobState.LOST]) == (jobs[JobState.LOST],)
    found = {job.id for job in state.jobs(states=(JobState.QUEUED, JobState.DONE))}
    assert found == {jobs[JobState.QUEUED].id, jobs[JobState.DONE].id}


def test_a_change_counts_and_is_seen(state):
    job = make_job()
    state.add_jobs([job])
    changed = state.change_job(job.id, lambda old: replace(old, state=JobState.RUNNING, pid=7, id="another", rev=40))
    assert changed == replace(job, state=JobState.RUNNING, pid=7, rev=1)
    assert state.job(job.id) == changed
    assert state.jobs(states=[JobState.RUNNING]) == (changed,)
    assert state.change_job(job.id, lambda old: old).rev == 1
    assert state.change_job("job-none", lambda old: old) is None


def test_a_change_that_raises_changes_nothing(state):
    job = make_job()
    state.add_jobs([job])
    with pytest.raises(KeyError):
        state.change_job(job.id, lambda old: raise_it(KeyError(old.id)))
    assert state.job(job.id) == job


def test_progress_is_written_for_live_jobs_only(state):
    jobs = [make_job(state=JobState.RUNNING), make_job(state=JobState.DONE), make_job()]
    state.add_jobs(jobs)
    progress = Progress("measuring", 5.0)
    assert state.set_progress({job.id: progress for job in jobs} | {"job-none": progress}) == 2
    assert state.job(jobs[0].id) == replace(jobs[0], progress=progress, rev=1)
    assert state.job(jobs[1].id) == jobs[1]
    assert state.set_progress({}) == 0


def test_removed_jobs_are_gone(state):
    jobs = [make_job(), make_job()]
    state.add_jobs(jobs)
    assert state.remove_jobs([jobs[0].id, "job-none"]) == 1
    assert state.remove_jobs([jobs[0].id]) == 0
    assert state.jobs() == (jobs[1],)


def test_the_generation_follows_what_lists_show_and_nothing_else(state):
    job = make_job()
    state.add_jobs([job])
    seen = [state.generation()]
    assert state.acquire_lease("x", "me", 5) is None
    assert state.renew_lease("x", "me", 5)
    state.set_progress({job.id: Progress("measuring", 1.0)})
    state.change_job(job.id, lambda old: replace(old, progress=Progress("measuring", 2.0)))
    state.change_job(job.id, lambda old: old)
    state.release_lease("x", "me")
    state.remove_jobs(["job-none"])
    state.prune(keep_runs=1, keep_days=1)
    assert state.generation() == seen[-1]
    for write in (
        lambda: state.change_job(job.id, lambda old: replace(old, state=JobState.RUNNING)),
        lambda: state.change_job(job.id, lambda old: replace(old, cancel_asked=True)),
        lambda: state.remove_jobs([job.id]),
        lambda: state.add_benchmarks([make_run(), make_run()]),
        lambda: state.add_batch(make_batch()),
    ):
        write()
        assert state.generation() not in seen
        seen.append(state.generation())


# ---- leases ---------------------------------------------------------------------------------------------------------


def test_a_lease_has_one_owner(state, clock):
    assert state.acquire_lease("job-1", "a", 15, note="runs", digests=["d1", "d2"]) is None
    held = state.acquire_lease("job-1", "b", 15)
    assert (held.owner, held.note, held.digests) == ("a", "runs", ("d1", "d2"))
    assert held.expires_at == pytest.approx(clock.wall_s + 15)
    assert state.acquire_lease("job-2", "b", 15) is None
    assert [lease.name for lease in state.leases()] == ["job-1", "job-2"]
    assert state.blobs() == {"d1", "d2"}


def test_an_owner_may_claim_again(state, clock):
    state.acquire_lease("x", "a", 15, digests=["old"])
    since = state.leases()[0].acquired_at
    clock.go_on(10)
    assert state.acquire_lease("x", "a", 15, digests=["new"]) is None
    (lease,) = state.leases()
    assert (lease.acquired_at, lease.digests) == (since, ("new",))
    assert lease.expires_at == pytest.approx(clock.wall_s + 15)


def test_a_lease_that_ran_out_goes_to_the_next(state, clock):
    state.acquire_lease("x", "a", 15, digests=["d"])
    clock.go_on(15.1)
    assert state.blobs() == set()
    assert not state.leases()[0].live(clock.wall_s)
    assert state.acquire_lease("x", "b", 15) is None
    assert not state.renew_lease("x", "a", 15)
    state.release_lease("x", "a")
    assert state.leases()[0].owner == "b"


def test_a_renewed_lease_goes_on(state, clock):
    state.acquire_lease("x", "a", 15)
    for _ in range(3):
        clock.go_on(10)
        assert state.renew_lease("x", "a", 15)
        assert state.acquire_lease("x", "b", 15).owner == "a"
    clock.go_on(20)
    assert state.renew_lease("x", "a", 15), "nobody took it"
    assert not state.renew_lease("x", "b", 15)
    assert not state.renew_lease("y", "a", 15)


def test_a_lease_that_was_given_back_is_free(state):
    state.acquire_lease("x", "a", 15)
    state.release_lease("x", "b")
    assert state.acquire_lease("x", "b", 15) is not None
    state.release_lease("x", "a")
    assert state.acquire_lease("x", "b", 15) is None
    assert not state.renew_lease("x", "a", 15)


@pytest.mark.parametrize("ttl_s", [0, -1, float("inf"), float("nan")])
def test_a_lease_without_an_end_is_refused(state, ttl_s):
    with pytest.raises(ValueError, match="hold for"):
        state.acquire_lease("x", "a", ttl_s)
    assert state.leases() == ()


@pytest.mark.parametrize("jump_s", [-1e9, -3600.0, 3600.0, 1e9])
def test_setting_the_wall_clock_neither_ends_nor_prolongs_a_lease(state, clock, jump_s):
    state.acquire_lease("x", "a", 15, digests=["d"])
    clock.wall_s += jump_s
    clock.go_on(14)
    assert state.acquire_lease("x", "b", 15).owner == "a"
    assert state.leases()[0].live(clock.wall_s)
    assert state.blobs() == {"d"}
    state.prune(keep_runs=1, keep_days=1)
    clock.go_on(1.1)
    assert not state.leases()[0].live(clock.wall_s)
    assert state.acquire_lease("x", "b", 15) is None


def test_pruning_takes_leases_that_ran_out(state, clock):
    state.acquire_lease("old", "a", 15)
    clock.go_on(10)
    state.acquire_lease("new", "a", 15)
    clock.go_on(10)
    assert state.prune(keep_runs=1, keep_days=1, dry_run=True) == 1
    assert len(state.leases()) == 2
    assert state.prune(keep_runs=1, keep_days=1) == 1
    assert [lease.name for lease in state.leases()] == ["new"]


# ---- leases of another boot, in SQLite ------------------------------------------------------------------------------


def test_a_lease_of_the_boot_before_holds_by_the_wall_clock(path):
    before, after = SetClock("boot-1"), SetClock("boot-2", boot_s=5.0)
    SqliteState(path, clock=before).acquire_lease("x", "a", 15)
    state = SqliteState(path, clock=after)
    after.wall_s += 10
    assert state.acquire_lease("x", "b", 15).owner == "a"
    after.go_on(5.1)
    assert state.acquire_lease("x", "b", 15) is None


@pytest.mark.parametrize("jump_s", [-1e9, -3600.0, 0.0])
def test_a_lease_of_another_boot_holds_nobody_off_for_longer_than_its_time(path, jump_s):
    before, after = SetClock("boot-1"), SetClock("boot-2", boot_s=5.0)
    SqliteState(path, clock=before).acquire_lease("x", "a", 15)
    state = SqliteState(path, clock=after)
    after.wall_s += jump_s
    assert state.acquire_lease("x", "b", 15).owner == "a"
    after.go_on(15.1)
    after.wall_s += jump_s
    assert state.acquire_lease("x", "b", 15) is None


def test_without_a_name_of_the_boot_the_wall_clock_decides(path):
    clock = SetClock("")
    state = SqliteState(path, clock=clock)
    state.acquire_lease("x", "a", 15)
    assert state.acquire_lease("x", "b", 15).owner == "a"
    clock.wall_s -= 3600
    assert state.acquire_lease("x", "b", 15).expires_at == pytest.approx(clock.wall_s + 15)
    clock.wall_s += 3600 + 16
    assert state.acquire_lease("x", "b", 15) is None


def test_what_nobody_wrote_yet_is_not_created_by_giving_back(path):
    state = SqliteState(path)
    state.release_lease("x", "a")
    assert not state.renew_lease("x", "a", 15)
    assert state.change_job("job-1", lambda old: old) is None
    assert state.remove_jobs(["job-1"]) == 0
    assert state.set_progress({"job-1": Progress("x")}) == 0
    assert state.prune(keep_runs=0, keep_days=0) == 0
    assert not path.parent.exists()
