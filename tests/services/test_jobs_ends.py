"""How jobs end: a saved result is never taken for lost, what runs keeps its files, and every signal is heeded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from catalog_builders import save_linear
from job_homes import JobHome, kill
from test_jobs import PACKAGE

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.errors import ConflictError, QuickServeError, ReadOnlyError
from quickserveml_tui.core.job_records import JobKind, JobRequest
from quickserveml_tui.core.jobs import JobState
from quickserveml_tui.core.predictions import BatchSpec
from quickserveml_tui.services.job_outcome import result_id_of
from quickserveml_tui.services.job_run import JobProcess

GONE = {"pid": 2**22 + 1, "born": 1}
KILLED_BEFORE_THE_END = """
import os, sys
from pathlib import Path
from quickserveml_tui.services import job_attempt
from quickserveml_tui.services.home import open_workbench
from quickserveml_tui.services.job_run import JobProcess
job_attempt.JobAttempt._end = lambda *_: os._exit(9)
JobProcess(open_workbench(Path(sys.argv[1])), [sys.argv[2]]).run()
"""


@pytest.fixture
def place(tmp_path):
    place = JobHome(tmp_path)
    yield place
    place.close()


def run_python(*args, **options):
    environment = os.environ | {"PYTHONPATH": PACKAGE}
    return subprocess.Popen([sys.executable, *args], env=environment, stderr=subprocess.DEVNULL, **options)


# ---- a result that was saved


@pytest.fixture
def killed(place):
    """A job whose process was killed between saving its result and recording its end."""
    job = place.written(**GONE)
    assert run_python("-c", KILLED_BEFORE_THE_END, str(place.home), job.id).wait(60) == 9
    assert place.state.job(job.id).state is JobState.RUNNING
    return job


def test_a_result_whose_process_was_killed_before_it_could_say_so_is_found(place, killed):
    health = place.bench.maintenance
    assert (health.overview().live_jobs, health.overview().lost_jobs) == (0, 0)
    assert not [item for item in health.check().findings if item.code == "job.lost"]
    (seen,) = place.read_only().jobs.list()
    (ended,) = place.jobs.list()
    assert (seen.state, ended.state, ended.exit_code) == (JobState.DONE, JobState.DONE, 0)
    assert place.bench.batch.get(ended.result_id).rows == 40
    assert place.state.job(killed.id) == ended
    with pytest.raises(ConflictError) as refused:
        place.jobs.resume(killed.id)
    assert refused.value.code == "job.done"


def test_a_supervisor_that_runs_such_a_job_again_only_records_its_end(place, killed):
    (record,) = JobProcess(place.bench, [killed.id]).run()
    assert (record.state, record.result_id) == (JobState.DONE, result_id_of(killed))
    assert len(place.bench.batch.history()) == 1


def test_every_attempt_has_a_result_of_its_own(place):
    job = place.written(**GONE)
    assert result_id_of(job) == result_id_of(replace(job, progress=job.progress, pid=1))
    assert result_id_of(job) != result_id_of(replace(job, attempt=2))


def test_a_dead_job_counts_as_lost_before_anybody_has_listed_it(place):
    job = place.jobs.start(place.endless())
    place.until_measuring(job)
    kill(place.state.job(job.id))
    overview = place.bench.maintenance.overview()
    assert (overview.live_jobs, overview.lost_jobs) == (0, 1)
    assert "job.lost" in [item.code for item in place.bench.maintenance.check().findings]


# ---- what a job works on


def test_the_files_of_a_running_job_are_not_collected_although_its_model_was_purged(place):
    added = place.bench.catalog.add(AddRequest(str(place.model), name="linear"))
    job = place.jobs.start(replace(place.endless(), ref="linear"))
    place.until_measuring(job)
    entry = place.bench.catalog.delete("linear").entry
    place.bench.catalog.purge([entry.id])
    assert place.bench.maintenance.collect(grace_s=0.0).blobs == 0
    assert place.bench.artifacts.has(added.version.artifact.digest)
    place.jobs.cancel(job.id)
    ended = place.ended(job)
    assert ended.state is JobState.CANCELLED
    place.bench.maintenance.collect(grace_s=0.0)
    assert not place.bench.artifacts.has(added.version.artifact.digest)


def test_a_job_measures_the_version_that_its_reference_stood_for_when_it_was_asked_for(place):
    place.bench.catalog.add(AddRequest(str(place.model), name="linear"))
    place.bench.catalog.set_alias("linear@1", "best")
    waits_for = place.jobs.start(place.endless())
    place.until_measuring(waits_for)
    job, latest = (place.jobs.start(replace(place.batch(), ref=ref)) for ref in ("linear@best", "linear"))
    second = save_linear(place.folder / "second.onnx", scale=2.0)
    place.bench.catalog.add(AddRequest(str(second), name="linear"))
    place.bench.catalog.set_alias("linear@2", "best")
    assert (job.request.ref, job.request.asked, job.subject) == ("linear@1", "linear@best", "linear@1 (best)  rows.npz")
    assert (latest.request.ref, latest.request.asked, latest.subject) == ("linear@1", "linear", "linear@1  rows.npz")
    place.jobs.cancel(waits_for.id)
    for record in (job, latest):
        assert place.bench.batch.get(place.ended(record).result_id).ref == "linear@1"


def test_a_version_or_a_path_is_asked_for_as_it_stands(place):
    place.bench.catalog.add(AddRequest(str(place.model), name="linear"))
    by_version, by_path = place.jobs.start_all([replace(place.batch(), ref="linear@1"), place.batch()])
    assert (by_version.request.ref, by_version.request.asked) == ("linear@1", "")
    assert (by_path.request.ref, by_path.request.asked) == (str(place.model), "")


def test_a_model_that_cannot_be_measured_is_refused_before_there_is_a_job(place):
    odd = save_linear(place.folder / "odd.onnx", op="NoSuchOperator")
    place.bench.catalog.add(AddRequest(str(odd), name="odd"))
    for ref, code in (("nobody", "model.not_found"), ("odd", "model.unrunnable")):
        with pytest.raises(QuickServeError) as caught:
            place.jobs.start_all([place.batch(), replace(place.endless(), ref=ref)])
        assert (caught.value.code, int(caught.value.exit_code)) == (code, 3)
    assert place.jobs.list() == ()
    assert not (place.home / "jobs").exists()


def test_the_log_of_a_lost_job_says_so_once_and_only_where_it_can_be_written(place):
    job = place.jobs.start(place.endless())
    kill(place.until_measuring(job))
    reader = place.read_only()
    assert reader.jobs.get(job.id).state is JobState.LOST
    assert "is gone" not in reader.jobs.log(job.id)[0]
    reader.close()
    for _ in range(2):
        assert place.jobs.get(job.id).state is JobState.LOST
    text, _ = place.jobs.log(job.id)
    assert text.count("is gone. Found lost: Its process ended without a word.") == 1


def test_a_folder_may_have_a_hash_in_its_name(place):
    model = save_linear(place.folder / "run #1" / "a#b.onnx")
    ended = place.ended(place.jobs.start(JobRequest(JobKind.BATCH, str(model), str(place.data), batch=BatchSpec())))
    assert ended.state is JobState.DONE, ended
    assert place.bench.catalog.resolve(f"{model}#node#1").node == "node#1"
    assert place.bench.catalog.resolve(f"{place.model}#node").node == "node"


# ---- signals


@pytest.fixture
def two(place):
    """Two jobs under way in a process in the foreground."""
    jobs = [place.written(**GONE), place.written(**GONE)]
    for job in jobs:
        place.state.change_job(job.id, lambda record: replace(record, request=place.endless()))
    command = ["-m", "quickserveml_tui", "--home", str(place.home), "job", "run", *(job.id for job in jobs)]
    process = run_python(*command, stdout=subprocess.DEVNULL)
    yield (*jobs, process)
    process.kill()
    process.wait()


def began(place, job):
    """Wait until a process has taken a job that was lost, and measures."""
    while not place.state.job(job.id).live or place.state.job(job.id).pid == GONE["pid"]:
        pass
    place.until_measuring(job)


def test_ctrl_c_is_heeded_although_the_job_before_was_cancelled_by_name(place, two):
    first, second, process = two
    began(place, first)
    place.jobs.cancel(first.id)
    began(place, second)
    process.send_signal(signal.SIGINT)
    assert place.ended(second).state is JobState.CANCELLED
    assert process.wait(30) == 130


def test_a_second_ctrl_c_waits_for_nothing(place, monkeypatch):
    never = threading.Event()
    monkeypatch.setattr(JobProcess, "_run_all", lambda _self: never.wait())
    process = JobProcess(place.bench, [place.written(**GONE).id])
    process._inbox.put(signal.SIGINT)
    process._inbox.put(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        process.run()
    never.set()


def test_a_job_is_not_run_in_a_home_that_is_opened_read_only(place):
    job = place.written(**GONE)
    bench = place.read_only()
    with pytest.raises(ReadOnlyError):
        JobProcess(bench, [job.id]).run()
    assert not (place.home / "jobs" / job.id).exists()
    environment = os.environ | {"PYTHONPATH": PACKAGE, "QSML_READ_ONLY": "1"}
    command = [sys.executable, "-m", "quickserveml_tui", "--home", str(place.home), "job", "run", job.id]
    assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 4
    assert not (place.home / "jobs").exists()


def test_a_state_finds_its_jobs_behind_those_that_only_seem_to_have_it(place):
    runs = place.written(state=JobState.RUNNING, created_at="2026-01-01T00:00:00.000Z")
    gone = place.written(state=JobState.RUNNING, created_at="2026-01-02T00:00:00.000Z", **GONE)
    assert [job.id for job in place.jobs.list(states=[JobState.RUNNING], limit=1)] == [runs.id]
    assert [job.id for job in place.jobs.list(states=[JobState.LOST, JobState.RUNNING])] == [gone.id, runs.id]
