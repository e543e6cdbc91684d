"""How a benchmark ends that could not go on or could not be saved: what was measured is always printed."""

from __future__ import annotations

import io
import json
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cli_harness import Cli, check

from quickserveml_tui.cli.benchmark_text import print_run
from quickserveml_tui.cli.documents import benchmark_document
from quickserveml_tui.cli.output import Output
from quickserveml_tui.core.benchmarks import CAPPED, MAX_SAMPLES, BenchmarkSpec, UnsavedRunError
from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.job_records import JobKind, JobRequest
from quickserveml_tui.services.home import open_workbench
from quickserveml_tui.services.job_outcome import benchmark_outcome
from quickserveml_tui.services.job_run import JobProcess

RUN = ("benchmark", "linear", "--duration", "100ms")


@pytest.fixture
def home(stock: Callable[..., Cli], model: Path) -> Cli:
    return stock(model.parent / "home", ("linear", 1.0))


def damage(cli: Cli) -> None:
    """Make the state database unreadable."""
    assert cli(*RUN).code == 0
    for path in cli.home.glob("state.db*"):
        path.unlink()
    (cli.home / "state.db").write_bytes(b"no database" * 3000)


def small_files() -> None:
    """Let this process write no file over 8 KiB, as on a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))


def test_a_run_is_printed_although_the_state_database_is_damaged(home: Cli) -> None:
    damage(home)
    result = home(*RUN)
    assert result.code == 4
    assert "Throughput" in result.out
    assert "Saved as" not in result.out
    assert "The run could not be saved: The state database is damaged" in result.err
    assert "fsck --repair" in result.err


def test_a_run_that_cannot_be_saved_is_one_document_that_says_so(home: Cli) -> None:
    damage(home)
    document = home.json("benchmark", *RUN, code=4)
    assert (document["saved"], document["samples_digest"]) == (False, "")
    assert document["n"] > 0
    assert document["save_error"]["code"] == "store.corrupt"
    assert document["save_error"]["hint"]


def test_a_run_is_printed_although_the_disk_takes_no_more(home: Cli) -> None:
    result = home.process(*RUN, preexec_fn=small_files)
    assert (result.code, "Throughput" in result.out) == (4, True)
    assert "The run could not be saved" in result.err
    result = home.process(*RUN, "--json", preexec_fn=small_files)
    check(result.document, "benchmark")
    assert (result.code, result.document["saved"]) == (4, False)
    assert home.json("show", "show", "linear")["p50_ms"] is None


def test_other_formats_print_the_run_too(home: Cli) -> None:
    damage(home)
    result = home(*RUN, "--format", "csv")
    assert result.code == 4
    assert len(result.out.strip().splitlines()) == 2


def test_a_run_that_is_not_to_be_saved_says_so_without_an_error(home: Cli) -> None:
    for options, saved in (((), True), (("--no-save",), False)):
        document = home.json("benchmark", *RUN, *options)
        assert (document["saved"], document["save_error"], document["capped"]) == (saved, None, False)


def test_a_job_whose_run_cannot_be_saved_fails_and_tells_its_figures(home: Cli, monkeypatch) -> None:
    bench = open_workbench(home.home)
    run = bench.benchmark.run("linear", BenchmarkSpec(duration_s=0.1), save=False)

    def full(*_args, **_options):
        raise UnsavedRunError(run, StoreError("The disk is full.", hint="Make room.", code="store.full"))

    monkeypatch.setattr(bench.benchmark, "run", full)
    spec = BenchmarkSpec(duration_s=0.1)
    record = bench.jobs.start(JobRequest(JobKind.BENCHMARK, str(home.home / "none.onnx"), benchmark=spec))
    assert bench.jobs.watch(record.id).state.value == "failed"
    request = replace(record.request, ref="linear@1")
    bench.state.change_job(record.id, lambda old: replace(old, request=request, state=type(old.state)("lost")))
    (ended,) = JobProcess(bench, [record.id]).run()
    figures = benchmark_outcome(run).sentence
    assert (ended.state.value, ended.exit_code, ended.error_code) == ("failed", 4, "store.full")
    assert ended.outcome == f"The run could not be saved: The disk is full. It was: {figures}"
    assert f"Measured: {figures}" in bench.jobs.log(record.id)[0]
    bench.close()


def test_a_run_that_ended_at_the_most_runs_that_are_kept_says_so_everywhere(home: Cli) -> None:
    bench = open_workbench(home.home)
    short = bench.benchmark.run("linear", BenchmarkSpec(duration_s=0.1), save=False)
    bench.close()
    full = replace(short, summary=replace(short.summary, n=MAX_SAMPLES))
    asked = replace(full, spec=BenchmarkSpec(max_runs=MAX_SAMPLES))
    stopped = replace(full, summary=replace(full.summary, cancelled=True))
    for run, is_capped in ((full, True), (short, False), (asked, False), (stopped, False)):
        print_run(Output(stream=(text := io.StringIO())), run)
        document = json.loads(json.dumps(benchmark_document(run)))
        check(document, "benchmark")
        assert document["capped"] is is_capped
        assert (CAPPED in text.getvalue().splitlines()[0]) is is_capped
        assert (CAPPED in benchmark_outcome(run).sentence) is is_capped
    assert CAPPED == "ended at 5,000,000 runs, the most that are kept"
