"""Detached jobs: they survive whoever started them, are known when they die, and stop when asked."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from job_homes import ROWS, JobHome, is_over, kill, kill_pid, runners_of

import quickserveml_tui
from quickserveml_tui.core.errors import (
    ConflictError,
    NotFoundError,
    ReadOnlyError,
    StoreError,
    UnavailableError,
    UsageError,
)
from quickserveml_tui.core.job_records import JobKind, JobRequest
from quickserveml_tui.core.jobs import CancelToken, JobState
from quickserveml_tui.runtime.host import boot_name
from quickserveml_tui.services.job_run import JobProcess

PACKAGE = str(Path(quickserveml_tui.__file__).parents[1])


@pytest.fixture
def place(tmp_path):
    place = JobHome(tmp_path)
    yield place
    place.close()


# ---- a job from its start to its end


def test_a_batch_ends_with_a_saved_result_and_a_sentence(place):
    started = place.jobs.start(place.batch(output=place.output))
    assert (started.state, started.attempt, started.subject) == (JobState.QUEUED, 1, "linear.onnx  rows.npz")
    ended = place.ended(started)
    result = place.bench.batch.get(ended.result_id)
    assert (ended.state, ended.exit_code, ended.error_code) == (JobState.DONE, 0, "")
    assert (result.rows, result.failed) == (ROWS, 0)
    assert ended.outcome.startswith(f"{ROWS} rows, accuracy")
    assert len(place.output.read_text().splitlines()) == ROWS
    assert place.jobs.list()[0] == ended


def test_a_watcher_sees_frames_in_their_order_and_a_benchmark_is_saved(place):
    job = place.jobs.start(place.endless())
    stop, frames, progress = CancelToken(), [], []

    def look(frame):
        frames.append(frame)
        if frame.phase.value == "measuring" and frame.count > 10:
            stop.cancel()

    ended = place.jobs.watch(job.id, on_frame=look, on_progress=progress.append, cancel=stop)
    assert (ended.state, ended.cancel_asked, ended.exit_code) == (JobState.CANCELLED, True, 130)
    run = place.bench.benchmark.get(ended.result_id)
    assert run.summary.cancelled
    assert run.summary.n >= max(frame.count for frame in frames if frame.phase.value == "measuring")
    phases = list(dict.fromkeys(frame.phase.value for frame in frames))
    assert phases == ["loading", "warm-up", "measuring", "done"][: len(phases)]
    starts = [start for frame in frames for start in frame.starts_s]
    assert starts == sorted(starts)
    assert progress


def test_a_late_watcher_gets_what_was_said_before_and_the_end(place):
    ended = place.ended(place.jobs.start(place.batch()))
    seen = []
    assert place.jobs.watch(ended.id, on_progress=seen.append) == ended
    assert seen[-1].done == ROWS
    events = place.jobs.events(ended.id)
    assert (events.progress, place.jobs.events(ended.id, events.offset).progress) == (seen[-1], None)


def test_jobs_started_together_run_in_their_order_in_one_process(place):
    jobs = place.jobs.start_all([place.batch(), place.batch(), place.batch()])
    ended = [place.ended(job) for job in jobs]
    assert [job.state for job in ended] == [JobState.DONE] * 3
    assert len({job.pid for job in ended}) == 1
    assert [job.ended_at for job in ended] == sorted(job.ended_at for job in ended)
    assert ended[0].ended_at <= ended[1].started_at


def test_a_job_that_cannot_work_fails_with_the_error_it_met(place):
    missing = JobRequest(
        JobKind.BATCH, str(place.folder / "none.onnx"), data=str(place.data), batch=place.batch().batch
    )
    ended = place.ended(place.jobs.start(missing))
    assert (ended.state, ended.exit_code) == (JobState.FAILED, 3)
    assert ended.error_code
    assert ended.hint
    assert ended.outcome


def test_everything_of_a_job_is_private_and_its_log_is_printable(place):
    place.data = place.data.rename(place.folder / "ro\x1b]52;c;eA==\x07ws.npz")
    ended = place.ended(place.jobs.start(place.batch()))
    for path in (place.home / "jobs").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    text, end = place.jobs.log(ended.id)
    assert "Attempt 1" in text
    assert "Ended, done." in text
    assert "\x1b" not in text + ended.subject
    assert place.jobs.log(ended.id, end) == ("", end)


# ---- surviving


_STARTER = """
import os, sys
from pathlib import Path
import msgspec
from quickserveml_tui.core.job_records import JobRequest
from quickserveml_tui.services import job_process, home
bench = home.open_workbench(Path(sys.argv[1]))
die = lambda: os.kill(os.getpid(), 9)
def dying(call, *, after=True):
    def replaced(*args, **options):
        if not after:
            die()
        result = call(*args, **options)
        die()
        return result
    return replaced
moment = sys.argv[3]
if moment == "process started":
    job_process.start_process = dying(job_process.start_process)
elif moment == "about to record":
    bench.state.add_jobs = dying(bench.state.add_jobs, after=False)
elif moment == "recorded":
    bench.state.add_jobs = dying(bench.state.add_jobs)
elif moment == "let go":
    job_process.WaitingProcess.let_go = dying(job_process.WaitingProcess.let_go)
bench.jobs.start(msgspec.json.decode(sys.argv[2], type=JobRequest))
die()
"""


@pytest.mark.parametrize("moment", ["process started", "about to record", "recorded", "let go", "all done"])
def test_a_job_that_was_recorded_runs_to_its_end_whenever_its_starter_is_killed(place, moment):
    import msgspec

    request = msgspec.json.encode(place.batch(output=place.output)).decode()
    starter = subprocess.Popen(
        [sys.executable, "-c", _STARTER, str(place.home), request, moment],
        env={**os.environ, "PYTHONPATH": PACKAGE}, start_new_session=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert starter.wait(timeout=60) == -9
    jobs = place.jobs.list()
    if moment in ("process started", "about to record"):
        assert jobs == ()
        assert not place.output.exists()
    else:
        ended = place.ended(jobs[0])
        assert ended.state is JobState.DONE
        assert len(place.output.read_text().splitlines()) == ROWS


def test_a_process_whose_jobs_could_not_be_recorded_ends_and_leaves_nothing(place, monkeypatch):
    from quickserveml_tui.services import job_process

    started = []

    class Spy(job_process.WaitingProcess):
        def __init__(self, process):
            super().__init__(process)
            started.append(os.pidfd_open(process.pid))

    def full(_records):
        raise StoreError("The state database could not be written: the disk is full.", code="store.full")

    monkeypatch.setattr(job_process, "WaitingProcess", Spy)
    monkeypatch.setattr(place.state, "add_jobs", full)
    with pytest.raises(StoreError, match="full"):
        place.jobs.start_all([place.batch(), place.batch()])
    assert place.jobs.list() == ()
    assert list((place.home / "jobs").iterdir()) == []
    assert is_over(started[0], 60)


def test_a_process_that_cannot_be_started_leaves_no_job(place, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(place.folder / "no-python"))
    with pytest.raises(UnavailableError) as caught:
        place.jobs.start(place.batch())
    assert caught.value.code == "job.start"
    assert place.jobs.list() == ()
    assert list((place.home / "jobs").iterdir()) == []


# ---- dying


def test_a_killed_job_is_lost_and_can_be_run_again(place):
    job = place.until_measuring(place.jobs.start_all([place.endless(), place.batch(output=place.output)])[0])
    kill(job)
    queued, measured = place.jobs.list(states=[JobState.LOST])
    assert {queued.id, measured.id} == {item.id for item in place.jobs.list()}
    batch = next(item for item in (queued, measured) if item.kind is JobKind.BATCH)
    assert place.state.job(batch.id).state is JobState.LOST
    assert batch.outcome
    resumed = place.jobs.resume(batch.id)
    assert (resumed.state, resumed.attempt) == (JobState.QUEUED, 1)  # it had not begun
    ended = place.ended(resumed)
    assert (ended.state, ended.error_code) == (JobState.DONE, "")
    again = place.until_measuring(place.jobs.resume(job.id))
    assert (again.attempt, again.pid != job.pid) == (2, True)


def test_a_dozen_kills_at_any_moment_lose_no_job_and_double_no_row(place):
    outputs = {}
    for turn in range(12):
        output = place.folder / f"predictions-{turn}.jsonl"
        job = place.jobs.start(place.batch(output=output))
        outputs[job.id] = output
        if not is_over(os.pidfd_open(job.pid), 0.08 * turn):  # from its first import to its last write
            kill(job)
    lost = place.jobs.list(states=[JobState.LOST])
    done = place.jobs.list(states=[JobState.DONE])
    assert {job.id for job in (*lost, *done)} == set(outputs)
    ended = JobProcess(place.bench, [job.id for job in lost]).run()
    assert [job.state for job in ended] == [JobState.DONE] * len(lost)
    for job in (*ended, *done):
        assert place.bench.batch.get(job.result_id).rows == ROWS
        lines = outputs[job.id].read_text().splitlines()
        assert [json.loads(line)["row"] for line in lines] == list(range(1, ROWS + 1))
    assert set(place.jobs.clean()) == set(outputs)
    assert list((place.home / "jobs").iterdir()) == []


def test_a_killed_runner_fails_its_job_with_the_signal(place):
    job = place.until_measuring(place.jobs.start(place.endless()))
    kill_pid(runners_of(job)[0])
    ended = place.ended(job)
    assert (ended.state, ended.error_code, ended.exit_code) == (JobState.FAILED, "runtime.crashed", 6)
    assert "SIGKILL" in ended.outcome


def test_the_runner_dies_with_its_job(place):
    job = place.until_measuring(place.jobs.start(place.endless()))
    runner = os.pidfd_open(runners_of(job)[0])
    kill(job)
    assert is_over(runner)


def test_a_later_process_with_the_same_number_is_not_the_job(place):
    job = place.written(state=JobState.RUNNING, born=1)  # our own number, another birth
    assert place.jobs.get(job.id).state is JobState.LOST
    with pytest.raises(ConflictError):
        place.jobs.cancel(job.id)  # and we are not signalled


def test_a_process_that_cannot_be_seen_lives_as_long_as_its_lease(place):
    job = place.written(state=JobState.RUNNING, boot="another machine", pid=7, born=8, started_at="2026")
    owner = "7.8@another machine"
    assert place.state.acquire_lease(f"job:{job.id}", owner, 60) is None
    assert place.jobs.get(job.id).state is JobState.RUNNING
    place.state.release_lease(f"job:{job.id}", owner)
    assert place.jobs.get(job.id).state is JobState.LOST


def test_a_process_that_was_stopped_for_a_while_has_not_lost_its_job(place):
    job = place.written(state=JobState.RUNNING)  # seen to live, though nothing renews its lease
    assert place.jobs.get(job.id).state is JobState.RUNNING
    with pytest.raises(ConflictError) as caught:
        place.jobs.resume(job.id)
    assert caught.value.code == "job.running"


# ---- stopping


def test_cancel_stops_a_running_job_and_keeps_what_it_has(place):
    job = place.until_measuring(place.jobs.start(place.endless()))
    assert place.jobs.cancel(job.id).cancel_asked
    ended = place.ended(job)
    assert (ended.state, ended.exit_code) == (JobState.CANCELLED, 130)
    assert place.bench.benchmark.get(ended.result_id).summary.n
    with pytest.raises(ConflictError) as caught:
        place.jobs.cancel(job.id)
    assert caught.value.code == "job.ended"
    again = place.until_measuring(place.jobs.resume(job.id))
    assert (again.attempt, again.cancel_asked, again.result_id) == (2, False, "")


def test_cancel_of_one_job_lets_the_next_of_its_process_run(place):
    first, second = place.jobs.start_all([place.endless(), place.batch()])
    place.until_measuring(first)
    place.jobs.cancel(first.id)
    assert place.ended(first).state is JobState.CANCELLED
    assert place.ended(second).state is JobState.DONE


def test_a_queued_job_is_cancelled_at_once_and_never_runs(place):
    first, second, third = place.jobs.start_all([place.endless(), place.batch(output=place.output), place.batch()])
    place.until_measuring(first)
    assert place.jobs.cancel(second.id).state is JobState.CANCELLED
    place.jobs.cancel(first.id)
    assert place.ended(third).state is JobState.DONE
    assert place.jobs.get(second.id).result_id == ""
    assert not place.output.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_from_elsewhere_stops_all_jobs_of_the_process(place, number):
    first, second = place.jobs.start_all([place.endless(), place.batch()])
    os.kill(place.until_measuring(first).pid, number)
    assert place.ended(first).state is JobState.CANCELLED
    assert place.ended(first).result_id
    assert place.ended(second).state is JobState.CANCELLED


def test_a_hangup_does_not_reach_a_job(place):
    job = place.until_measuring(place.jobs.start(place.endless()))
    assert os.getsid(job.pid) == job.pid != os.getsid(0)


# ---- the lane


def test_a_second_measured_job_waits_says_for_whom_and_goes_on_when_the_first_is_killed(place):
    first = place.until_measuring(place.jobs.start(place.endless()))
    second = place.jobs.start(place.batch())
    waiting = place.until_waiting(second)
    assert first.id in waiting.note
    assert place.jobs.get(second.id).state is JobState.QUEUED
    assert place.jobs.get(second.id).progress == waiting
    kill(first)
    assert place.ended(second).state is JobState.DONE
    assert place.jobs.get(first.id).state is JobState.LOST


def test_the_oldest_that_waits_goes_first_and_cancel_works_while_waiting(place):
    first = place.until_measuring(place.jobs.start(place.endless()))
    second = place.jobs.start(place.endless())
    place.until_waiting(second)
    third = place.jobs.start(place.batch())
    place.until_waiting(third)
    place.jobs.cancel(first.id)
    place.until_measuring(second)
    assert place.jobs.get(third.id).state is JobState.QUEUED
    assert place.jobs.cancel(third.id).state is JobState.CANCELLED


# ---- refusals


def test_a_read_only_home_starts_nothing_and_says_who_is_lost_without_writing(place):
    job = place.until_measuring(place.jobs.start(place.endless()))
    kill(job)
    bench = place.read_only()
    assert bench.jobs.get(job.id).state is JobState.LOST
    assert bench.jobs.list(states=[JobState.LOST])[0].id == job.id
    for call in (
        lambda: bench.jobs.start(place.batch()),
        lambda: bench.jobs.resume(job.id),
        bench.jobs.clean,
    ):
        with pytest.raises(ReadOnlyError):
            call()
    assert place.state.job(job.id).state is JobState.RUNNING  # nobody wrote it down


def test_a_job_that_is_done_is_not_run_again_and_one_that_runs_is_not_cleaned(place):
    done = place.ended(place.jobs.start(place.batch()))
    running = place.until_measuring(place.jobs.start(place.endless()))
    for call, code in (
        (lambda: place.jobs.resume(done.id), "job.done"),
        (lambda: place.jobs.resume(running.id), "job.running"),
        (lambda: place.jobs.clean([done.id, running.id]), "job.running"),
    ):
        with pytest.raises(ConflictError) as caught:
            call()
        assert caught.value.code == code
    assert place.jobs.get(done.id) == done
    assert place.jobs.clean() == (done.id,)
    assert not (place.home / "jobs" / done.id).exists()
    assert place.bench.batch.get(done.result_id).rows == ROWS


def test_collection_removes_what_a_killed_starter_left_and_no_other_folder(place):
    done = place.ended(place.jobs.start(place.batch()))
    stray = place.home / "jobs" / "job-0123456789ab"
    stray.mkdir()
    for folder in (stray, place.home / "jobs" / done.id):
        os.utime(folder, (0, 0))
    place.bench.maintenance.collect(dry_run=True)
    assert stray.exists()
    place.bench.maintenance.collect()
    assert [path.name for path in (place.home / "jobs").iterdir()] == [done.id]


def test_requests_that_are_not_complete_start_nothing(place):
    for request in (JobRequest(JobKind.BATCH, "linear"), JobRequest(JobKind.BENCHMARK, "linear")):
        with pytest.raises(UsageError):
            place.jobs.start_all([place.batch(), request])
    for requests in ([], [place.batch()] * 101):
        with pytest.raises(UsageError):
            place.jobs.start_all(requests)
    assert not (place.home / "jobs").exists()


BAD_IDS = [
    "", ".", "..", "../x", "..\\x", "/etc/passwd", "C:\\x", "\\\\host\\x", "%2e%2e", "%252e", "job-\0", "job-", "job-1",
    "job-0123456789AB", "job-0123456789abc", "job-0123456789ab/", "job-0123456789ab/../x", "job-0123456789a\u0441",
    "job-\u0660123456789ab", "job-0123456789ab\n", " job-0123456789ab", "x" * 4097, "CON", "x[/]y", "[@click=app.quit]",
    "=cmd|' /C calc'!A0", "<script>", "'; DROP TABLE jobs; --", "{{7*7}}", "\x1b]52;c;eA==\x07", "\u202ejob", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD_IDS, ids=ascii)
def test_a_bad_id_names_no_job_and_touches_nothing(place, bad):
    (place.home / "jobs").mkdir(parents=True, mode=0o700)
    before = sorted(place.folder.rglob("*"))
    for call in (
        place.jobs.get, place.jobs.cancel, place.jobs.resume, place.jobs.events, place.jobs.log, place.jobs.watch,
        lambda job_id: place.jobs.clean([job_id]),
    ):  # fmt: skip
        with pytest.raises(NotFoundError) as caught:
            call(bad)
        assert caught.value.code == "job.not_found"
        assert caught.value.message.isprintable()
    assert sorted(place.folder.rglob("*")) == before


def test_boots_and_name_spaces_have_names():
    assert boot_name() == boot_name() != ""
