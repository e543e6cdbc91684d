"""The board of jobs: the end of the block decides the state, and the board stays small."""

from __future__ import annotations

import threading

import pytest

from quickserveml_tui.core.errors import CancelledError, DataError, UnavailableError
from quickserveml_tui.core.jobs import JobState, Progress
from quickserveml_tui.services import jobs as jobs_module
from quickserveml_tui.services.jobs import JobBoard


@pytest.fixture
def board():
    return JobBoard()


def only(board):
    (record,) = board.list()
    return record


def test_a_job_is_running_while_its_block_runs_and_done_after(board):
    with board.run("batch", "digits@1") as job:
        record = only(board)
        assert (record.id, record.kind, record.subject, record.state) == (job.id, "batch", "digits@1", JobState.RUNNING)
        assert (board.running, record.ended_at) == (1, "")
    record = only(board)
    assert (record.state, record.outcome, board.running) == (JobState.DONE, "Done.", 0)
    assert record.ended_at >= record.started_at


def test_progress_is_seen_until_the_end(board):
    with board.run("add", "m") as job:
        job.report(Progress("copying", 1, 4))
        assert only(board).progress.fraction == 0.25
        job.report(Progress("done", 4, 4, note="360 rows, 1 set apart."))
    job.report(Progress("late"))
    assert only(board).progress.phase == "done"
    assert only(board).outcome == "360 rows, 1 set apart."


def run_and_raise(board, error):
    with board.run("add", "m"):
        raise error


@pytest.mark.parametrize(
    ("error", "state", "outcome"),
    [
        (CancelledError("Cancelled."), JobState.CANCELLED, "Cancelled."),
        (DataError("Row 3 is ragged."), JobState.FAILED, "Row 3 is ragged."),
        (ValueError("bad \x1b[2J"), JobState.FAILED, "ValueError: bad [2J"),
        (ZeroDivisionError(), JobState.FAILED, "ZeroDivisionError."),
        (KeyboardInterrupt(), JobState.FAILED, "Interrupted."),
    ],
)
def test_an_error_ends_the_job_and_goes_on(board, error, state, outcome):
    with pytest.raises(type(error)) as caught:
        run_and_raise(board, error)
    assert caught.value is error
    assert (only(board).state, only(board).outcome, board.running) == (state, outcome, 0)


def test_a_job_can_be_cancelled_from_another_thread(board):
    started, seen = threading.Event(), []

    def work():
        with board.run("benchmark", "m") as job:
            started.set()
            seen.append(job.cancel.wait(30))

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(30)
    assert board.cancel(only(board).id)
    thread.join(30)
    assert seen == [True]
    assert only(board).state is JobState.CANCELLED
    assert not board.cancel(only(board).id)


def test_a_callback_on_cancel_may_look_at_the_board(board):
    with board.run("benchmark", "m") as job:
        job.cancel.on_cancel(lambda: seen.append(board.running))
        seen = []
        assert board.cancel(job.id)
    assert seen == [1]


def test_an_unknown_job_cannot_be_cancelled(board):
    assert not board.cancel("job-0")


def test_the_newest_200_jobs_stay_and_none_that_runs_goes(board):
    with board.run("add", "first"):
        for number in range(300):
            with board.run("add", str(number)):
                pass
        records = board.list()
        assert len(records) == 200
        assert [record.subject for record in records[:2]] == ["299", "298"]
        assert records[-1].subject == "first"
    assert board.list()[-1].state is JobState.DONE


def test_too_many_jobs_at_once_are_refused(board, monkeypatch):
    monkeypatch.setattr(jobs_module, "MAX_JOBS", 1)
    with board.run("add", "one"), pytest.raises(UnavailableError), board.run("add", "two"):
        pass
    with board.run("add", "three"):
        assert board.running == 1
