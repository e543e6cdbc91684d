"""Jobs from the command line: left to the background, followed, stopped, and safe from a terminal that goes away."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pexpect
import pytest
from cli_harness import Cli, check, environment
from test_cli_terminal import finish, spawn

from quickserveml_tui.core.jobs import CancelToken, JobState
from quickserveml_tui.services.home import open_workbench

MANY_ROWS = 3_000_000


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Forty rows with their classes."""
    return save_rows(tmp_path / "rows.npz", 40)


@pytest.fixture
def home(stock: Callable[..., Cli], model: Path) -> Cli:
    """Command lines on a home with `linear`; what still runs there is killed at the end."""
    cli = stock(model.parent / "home", ("linear", 1.0))
    yield cli
    for item in cli.json("job list", "job", "list")["jobs"]:
        if item["state"] in ("queued", "running"):
            os.kill(item["pid"], signal.SIGKILL)


def save_rows(path: Path, count: int) -> Path:
    np.savez(path, x=np.ones((count, 4), np.float32), y=np.zeros(count, np.int64))
    return path


def until_measuring(cli: Cli, job_id: str) -> None:
    """Return once the job measures or runs rows."""
    token, seen = CancelToken(), []

    def look(progress) -> None:
        if progress.phase in ("measuring", "running") and progress.done:
            seen.append(progress)
            token.cancel()

    timer = threading.Timer(30, token.cancel)
    timer.start()
    bench = open_workbench(cli.home)
    record = bench.jobs.watch(job_id, on_progress=look, detach=token)
    timer.cancel()
    bench.close()
    assert seen, record


def endless(cli: Cli) -> str:
    """Id of a job that measures for a day."""
    job_id = cli.json("job", "benchmark", "linear", "--duration", "24h", "--batch", "100000", "--detach")["id"]
    until_measuring(cli, job_id)
    return job_id


def test_a_detached_batch_is_followed_shown_and_forgotten(home: Cli, rows: Path) -> None:
    started = home("batch", "linear", str(rows), "--detach")
    assert started.code == 0, started
    job_id = started.out.split()[0]
    assert f"quickserveml job watch {job_id} --home {home.home}" in started.out
    watched = home.json("job", "job", "watch", job_id)
    assert (watched["state"], watched["kind"], watched["subject"]) == ("done", "batch", "linear@1  rows.npz")
    assert watched["progress"]["fraction"] == 1
    assert home.json("job", "job", "show", job_id) == watched
    assert watched.pop("result")["id"] == watched["result_id"]
    assert home.json("job list", "job", "list", "--state", "done", "--limit", "1")["jobs"] == [watched]
    assert job_id in home("job", "list").out
    assert "accuracy" in home("job", "show", job_id).out
    log = home.json("job logs", "job", "logs", job_id)["log"]
    assert "Ended, done." in log
    assert home("job", "logs", job_id, "--follow").out == log
    assert home.json("job clean", "job", "clean")["cleaned"] == [job_id]
    assert home("job", "show", job_id).code == 3


def test_a_batch_in_the_foreground_is_a_job_too(home: Cli, rows: Path) -> None:
    result = home("batch", "linear", str(rows), "--json")
    check(result.document, "batch")
    assert "running" not in result.out
    (job,) = home.json("job list", "job", "list")["jobs"]
    assert (job["state"], job["result_id"]) == ("done", result.document["id"])


def test_a_batch_that_fails_ends_as_if_it_had_run_here(home: Cli, rows: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "odd.npz", other=np.ones((3, 2), np.float32))
    result = home("batch", "linear", str(tmp_path / "odd.npz"), "--json")
    assert result.code == 3
    assert result.error["code"].startswith("data.")
    assert result.error["hint"]
    (job,) = home.json("job list", "job", "list")["jobs"]
    assert (job["state"], job["exit_code"], job["error"]["code"]) == ("failed", 3, result.error["code"])
    watched = home("job", "watch", job["id"])
    assert watched.code == 3


def test_the_result_of_a_job_is_read_back_as_the_foreground_prints_it(home: Cli, rows: Path) -> None:
    for kind, arguments in (("batch", ("linear", str(rows))), ("benchmark", ("linear", "--duration", "50ms"))):
        job_id = home.json("job", kind, *arguments, "--detach")["id"]
        watched = home.json("job", "job", "watch", job_id)
        check(watched["result"], kind)
        assert watched["result"]["id"] == watched["result_id"]
        shown = home("job", "show", job_id)
        assert "Throughput" in shown.out
        assert shown.out == home("job", "watch", job_id).out
        if kind == "batch":
            done = home("batch", "linear", str(rows)).out
            assert done.splitlines()[0] in shown.out.splitlines()
        else:
            assert f"Saved as    {watched['result_id']}" in shown.out
            assert (watched["result"]["saved"], watched["result"]["save_error"]) == (True, None)


def test_a_job_without_a_result_has_null_for_it_and_for_its_exit_code(home: Cli) -> None:
    job_id = endless(home)
    shown = home.json("job", "job", "show", job_id)
    assert (shown["result"], shown["exit_code"]) == (None, None)
    home("job", "cancel", job_id)
    assert home.json("job", "job", "watch", job_id, code=130)["exit_code"] == 130


def test_a_job_tells_what_was_asked_of_it_as_a_command_that_repeats_it(home: Cli, rows: Path, tmp_path: Path) -> None:
    home("alias", "linear@1", "best")
    output = tmp_path / "predictions.jsonl"
    arguments = ("batch", "linear@best", str(rows), "--batch-size", "7", "--threads", "2", "--output", str(output))
    job = home.json("job", *arguments, "--detach")
    assert (job["ref"], job["asked"], job["subject"]) == ("linear@1", "linear@best", "linear@1 (best)  rows.npz")
    assert job["output"] == str(output)
    assert home("job", "watch", job["id"]).code == 0
    assert str(output) in home("job", "show", job["id"]).out
    again = home.json("batch", *shlex.split(job["command"])[3:])
    assert (again["ref"], again["rows"], again["output"]) == ("linear@1", 40, str(output))
    assert "--threads 2" in job["command"]
    assert "--batch-size 7" in job["command"]
    measured = home.json("job", "benchmark", "linear", "--duration", "50ms", "--warmup", "0s", "--detach")
    assert "benchmark linear@1 --duration 0.05s --warmup 0s" in measured["command"]
    assert home("job", "watch", measured["id"]).code == 0


def test_a_batch_that_waits_says_once_how_to_follow_and_to_stop_it(home: Cli, rows: Path) -> None:
    before = endless(home)
    command = [sys.executable, "-m", "quickserveml_tui", "--home", str(home.home), "batch", "linear", str(rows)]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment(), text=True, **pipes) as child:
        late = threading.Timer(30, child.kill)
        late.start()
        said = [child.stderr.readline() for _ in range(3)]
        late.cancel()
        home("job", "cancel", before)
        out, rest = child.communicate(timeout=60)
    (job, _) = home.json("job list", "job", "list")["jobs"]
    assert said[0].startswith(f"{job['id']} waits for {before}")
    assert f"job watch {job['id']}" in said[1]
    assert f"job cancel {job['id']}" in said[2]
    assert (job["id"] in rest, "Throughput" in out, child.returncode) == (False, True, 0)


def test_ctrl_c_in_a_pipe_says_that_the_job_goes_on_also_when_its_reader_is_gone(home: Cli) -> None:
    job_id = endless(home)
    command = [sys.executable, "-m", "quickserveml_tui", "--home", str(home.home), "job", "watch", job_id]
    with subprocess.Popen(
        command, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stderr.readline()
        child.stdout.close()
        child.send_signal(signal.SIGINT)
        late = threading.Timer(30, child.kill)
        late.start()
        rest = child.stderr.read()
        late.cancel()
    assert f"The job goes on. To stop it: quickserveml --home {home.home} job cancel {job_id}" in rest
    assert home.json("job", "job", "show", job_id)["state"] == "running"


def test_mistakes_are_told_before_a_job_begins(home: Cli, rows: Path) -> None:
    for arguments, code in (
        (("batch", "linear", "missing.csv", "--detach"), "data.missing"),
        (("batch", "nobody", str(rows), "--detach"), "model.not_found"),
        (("benchmark", "nobody", "--detach"), "model.not_found"),
        (("benchmark", "linear", "--detach", "--no-save"), "usage"),
        (("job", "list", "--state", "odd"), "usage"),
        (("job", "list", "--limit", "0"), "usage"),
        (("job", "show", "../x"), "job.not_found"),
        (("job", "run", "job-0123456789ab"), "job.not_found"),
        (("job", "logs", "job-0123456789ab"), "job.not_found"),
    ):
        assert home(*arguments, "--json").error["code"] == code, arguments
    assert home.json("job list", "job", "list")["jobs"] == []
    assert not (home.home / "jobs").exists()


def test_a_killed_job_is_lost_in_the_list_and_run_again_by_hand(home: Cli, rows: Path) -> None:
    job_id = endless(home)
    os.kill(home.json("job", "job", "show", job_id)["pid"], signal.SIGKILL)
    assert home("job", "watch", job_id).code == 6
    (job,) = home.json("job list", "job", "list", "--state", "lost")["jobs"]
    assert (job["id"], job["error"]["code"]) == (job_id, "job.lost")
    resumed = home.json("job", "job", "resume", job_id)
    assert (resumed["state"], resumed["attempt"]) == ("queued", 2)
    until_measuring(home, job_id)
    assert home("job", "run", job_id, "--json").error["code"] == "job.running"
    assert home("job", "resume", job_id).code == 3
    assert home.json("job", "job", "cancel", job_id)["cancel_asked"]
    assert home("job", "watch", job_id).code == 130
    assert home("job", "run", job_id, "--json").error["code"] == "job.ended"


def test_job_run_takes_a_lost_job_over_in_this_process(home: Cli, rows: Path) -> None:
    first = endless(home)
    job_id = home.json("job", "batch", "linear", str(rows), "--detach")["id"]
    for name in (job_id, first):
        os.kill(home.json("job", "job", "show", name)["pid"], signal.SIGKILL)
    document = home.process("job", "run", job_id, "--json").document
    check(document, "job list")
    assert [item["state"] for item in document["jobs"]] == ["done"]


# ---- in a terminal


def test_ctrl_c_stops_the_job_and_prints_what_it_has(home: Cli, tmp_path: Path) -> None:
    data = save_rows(tmp_path / "many.npz", MANY_ROWS)
    child = spawn(home, "batch", "linear", str(data), "--batch-size", "1", NO_COLOR="1")
    child.expect(r"\r[^\n]*running[^\n]*of 3,000,000 rows")
    child.sendintr()
    child.expect("cancelled")
    code, rest = finish(child)
    assert code == 130
    assert "Throughput" in rest
    (job,) = home.json("job list", "job", "list")["jobs"]
    assert (job["state"], job["cancel_asked"]) == ("cancelled", True)
    assert job["result_id"]


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_a_terminal_that_goes_away_leaves_the_job_running(home: Cli, tmp_path: Path, how: str) -> None:
    data = save_rows(tmp_path / "many.npz", MANY_ROWS)
    child = spawn(home, "batch", "linear", str(data), "--batch-size", "1", NO_COLOR="1")
    child.expect(r"\r[^\n]*running[^\n]*of 3,000,000 rows")
    if how == "killed":
        os.kill(child.pid, signal.SIGKILL)
        child.expect(pexpect.EOF)
    # Closes the terminal: SIGHUP for all who belong to it. `child.close` would add a Ctrl-C for whoever is slow to go.
    child.ptyproc.fileobj.close()
    child.closed = child.ptyproc.closed = True
    child.wait()
    (job,) = home.json("job list", "job", "list")["jobs"]
    assert job["state"] == JobState.RUNNING.value
    until_measuring(home, job["id"])
    home("job", "cancel", job["id"])
    assert home.json("job", "job", "watch", job["id"], code=130)["result_id"]


def test_ctrl_c_ends_only_the_watching_and_says_how_to_cancel(home: Cli) -> None:
    job_id = endless(home)
    child = spawn(home, "job", "watch", job_id, NO_COLOR="1")
    child.expect(r"\r[^\n]*measuring[^\n]*median now")
    child.sendintr()
    code, rest = finish(child)
    assert code == 0
    assert re.search(rf"job cancel {job_id}", rest)
    assert home.json("job", "job", "show", job_id)["state"] == "running"


def test_job_run_under_a_supervisor_stops_on_its_signal_and_says_so(home: Cli) -> None:
    job_id = endless(home)
    os.kill(home.json("job", "job", "show", job_id)["pid"], signal.SIGKILL)
    assert home("job", "watch", job_id).code == 6
    child = spawn(home, "job", "run", job_id, "--json")
    child.expect(r"\r[^\n]*measuring[^\n]*median now")
    child.kill(signal.SIGTERM)
    code, rest = finish(child)
    assert code == 130
    document = json.loads(rest[rest.index("{") :])
    assert document["jobs"][0]["state"] == "cancelled"
