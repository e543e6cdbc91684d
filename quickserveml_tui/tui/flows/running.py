"""Benchmarks and batches: settings, start, frames, cancel, results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import on
from textual.message import Message

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.errors import QuickServeError, UsageError
from quickserveml_tui.core.jobs import JobState, Progress
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.units import parse_duration
from quickserveml_tui.tui.drops import expanded
from quickserveml_tui.tui.flows.base import clock
from quickserveml_tui.tui.flows.home_jobs import HomeJobsFlow
from quickserveml_tui.tui.jobs import UiJob
from quickserveml_tui.tui.messages import FramesArrived, JobAdvanced, JobEnded

if TYPE_CHECKING:
    from quickserveml_tui.core.benchmarks import BenchmarkRun, BenchmarkSpec
    from quickserveml_tui.core.ports import Workbench

LEVELS = ("all", "extended", "basic", "disable")


def _whole(text: str, what: str, low: int) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < low:
        raise UsageError(f"{what} must be a whole number from {low} on.", hint="Change it or press esc.")
    return int(text)


def spec_of(values: dict[str, str]) -> BenchmarkSpec:
    """The settings of the form. Raises `UsageError` with the field that is wrong."""
    from quickserveml_tui.core.benchmarks import BenchmarkSpec
    from quickserveml_tui.core.feeds import FeedSpec

    warmup = values["warmup"].strip()
    return BenchmarkSpec(
        duration_s=parse_duration(values["duration"]),
        warmup_s=0.0 if warmup in ("0", "0s") else parse_duration(warmup),
        intra_op_threads=_whole(values["threads"], "Threads", 1),
        optimization=values["optimization"],
        feed=FeedSpec(batch=_whole(values["batch"], "Batch", 1) if values["batch"] else None),
    ).validate()


class RunningFlow(HomeJobsFlow):
    """Jobs that measure or compute."""

    spec: BenchmarkSpec
    """Settings for a model that has none of its own; there once the first frame is painted."""
    specs: dict[str, BenchmarkSpec]
    """Settings by model name, for this session: another model's batch or threads would make its figures differ."""

    @property
    def _own_spec(self) -> BenchmarkSpec:
        """The settings for the model under the cursor."""
        return self.specs.get(self.ref.partition("@")[0], self.spec)

    def restore_spec(self) -> None:
        """Duration and warm-up of the last session, if they still hold."""
        from quickserveml_tui.core.benchmarks import BenchmarkSpec

        self.specs = {}
        try:
            self.spec = BenchmarkSpec(duration_s=self.memory.duration_s, warmup_s=self.memory.warmup_s).validate()
        except QuickServeError:
            self.spec = BenchmarkSpec()
        self.benchmark_pane.spec = self.spec

    # ---- benchmark

    def action_run_benchmark(self) -> None:
        """Measure the version under the cursor with the settings as they are."""
        workbench, row = self.ready(), self.selected
        if workbench is None or row is None:
            return
        spec = self._own_spec
        work = partial(_measure_here, workbench, row.ref, spec, self.post_message)
        request = None
        if not self.read_only:
            from quickserveml_tui.core.job_records import JobKind, JobRequest

            request = JobRequest(JobKind.BENCHMARK, row.ref, benchmark=spec, origin="workbench")
            work = partial(_run_there, workbench, self.post_message)
        self.submit(UiJob("benchmark", row.ref, work, detail=spec, request=request))

    def action_edit_settings(self) -> None:
        """Change duration, warm-up, threads, batch and optimisation, then run."""
        from quickserveml_tui.tui.screens.forms import Field, FormDialog

        spec = self._own_spec
        fields = [
            Field("duration", "duration", f"{spec.duration_s:g}s", "10s, 500ms, 2m"),
            Field("warmup", "warm-up", f"{spec.warmup_s:g}s", "1s"),
            Field("threads", "threads", str(spec.intra_op_threads), "1"),
            Field("batch", "batch", str(spec.feed.batch or ""), "as the model has it, else 1"),
            Field("optimization", "optimise", spec.optimization, choices=LEVELS),
        ]
        about = (
            "One client in a closed loop, in a process of its own. Duration and warm-up stay for all models, the rest "
            "for this one."
        )
        form = FormDialog(
            "Benchmark settings",
            fields,
            about=about,
            verb="run",
            check=lambda values: {"spec": spec_of(values)},
            right=self.ref,
        )
        self.app.push_screen(form, self._settings_form)

    def _settings_form(self, values: dict[str, Any] | None) -> None:
        if values is None:
            return
        chosen: BenchmarkSpec = values["spec"]
        self.memory.duration_s, self.memory.warmup_s = chosen.duration_s, chosen.warmup_s
        self.spec = replace(self.spec, duration_s=chosen.duration_s, warmup_s=chosen.warmup_s)
        for name, spec in self.specs.items():
            self.specs[name] = replace(spec, duration_s=chosen.duration_s, warmup_s=chosen.warmup_s)
        self.specs[self.ref.partition("@")[0]] = self.benchmark_pane.spec = chosen
        if self.selected is not None and self.selected.version.runnable:
            self.action_run_benchmark()
        else:
            self.tell("Settings kept", Role.OK)

    def job_started(self, job: UiJob) -> None:
        """A benchmark brings its pane to the front; others only their row."""
        super().job_started(job)
        if job.kind == "benchmark":
            self.benchmark_pane.begin(job.subject, job.detail)
            if self.app.screen is self:
                self.reveal_pane(3)
            self.tell(f"Measuring {job.subject}", Role.INFO)
        elif job.kind == "batch" and self.app.screen is self:
            self.jobs_pane.refresh_jobs()
            self.jobs_pane.follow(job)
            self.reveal_pane(4)

    @on(FramesArrived)
    def draw_frames(self, event: FramesArrived) -> None:
        """Draw what was measured and move the job's bar."""
        event.stop()
        job = event.job
        if job is not self.charted:
            return
        pane = self.benchmark_pane
        pane.add_frames(event.frames)
        live, spec = pane.live_run, pane.spec
        if live is not None and not job.elsewhere:
            total = spec.warmup_s + spec.duration_s
            done = min(live.elapsed_s, total)
            left = max(spec.duration_s - live.measured_s, 0.0) if live.n else None
            job.progress = Progress(live.phase.value, done, total, eta_s=left, elapsed_s=live.elapsed_s)
        self.jobs_pane.refresh_jobs()

    # ---- batch

    def action_run_data(self) -> None:
        """Ask for a data set and run it through the version under the cursor."""
        from quickserveml_tui.tui.screens.forms import Field, FormDialog

        workbench, row = self.ready(), self.selected
        if workbench is None or row is None:
            return
        found = workbench.demo.data_path(row.ref)
        start = str(found) if found else self.memory.data_path
        fields = [
            Field("data", "data", start, "rows.csv or arrays.npz", path="file", suffixes=(".csv", ".npz")),
            Field("target", "truth", "", "label or target, where there is one"),
            Field("output", "write to", "", "nowhere; a .jsonl file keeps the predictions", path="file"),
        ]
        about = "A CSV or NPZ file; rows that do not fit are set apart."
        if found:
            about = "The test split that comes with this demo model; enter runs it."
        form = FormDialog(f"Run data through {row.ref}", fields, about=about, verb="run", check=_check_batch)
        self.app.push_screen(form, lambda values: self._batch_form(row.ref, values))

    def _batch_form(self, ref: str, values: dict[str, Any] | None) -> None:
        from quickserveml_tui.core.job_records import JobKind, JobRequest
        from quickserveml_tui.core.predictions import BatchSpec

        workbench = self.workbench
        if values is None or workbench is None:
            return
        spec = BatchSpec(target_column=values["target"], output_path=values["output"])
        self.memory.data_path = data = values["data"]
        request = JobRequest(JobKind.BATCH, ref, data=data, batch=spec, origin="workbench")
        work = partial(_run_there, workbench, self.post_message)
        self.submit(UiJob("batch", f"{ref}  {Path(data).name}", work, detail=ref, request=request))

    # ---- ends

    @on(JobAdvanced)
    def move_bar(self, event: JobAdvanced) -> None:
        """Move the job's bar."""
        event.stop()
        self.jobs_pane.refresh_jobs()

    @on(JobEnded)
    def end_job(self, event: JobEnded) -> None:
        """Record the end, show the result, start the next one."""
        from quickserveml_tui.core.benchmarks import BenchmarkRun
        from quickserveml_tui.tui.outcomes import is_good, outcome_words, select_after

        event.stop()
        if self.lane.closed:
            return
        job, error = event.job, event.error
        self.lane.finish(job, event.result, error, clock())
        job.outcome = outcome_words(job, error)
        if job.kind == "benchmark":
            run = event.result if isinstance(event.result, BenchmarkRun) else None
            self.benchmark_pane.finish(run)
            if run is None and self.selected is not None:
                self.benchmark_pane.show_selection(self.ref, self.benchmark_pane.history)
        if len(job.party) > 1:
            self._tell_party(job)
        elif error is not None and job.state is JobState.FAILED:
            self.tell_error(error, job.kind)
        else:
            good = job.state is not JobState.CANCELLED and is_good(job)
            self.tell(f"{job.kind.capitalize()} {job.outcome}", Role.OK if good else Role.WARN)
        self.start_jobs()
        self.jobs_pane.refresh_jobs()
        self.reload_catalog(select_after(job))
        self.read_jobs()
        self.show_outcome(job)
        self.sample_host()

    def _tell_party(self, job: UiJob) -> None:
        """Nothing but the status line while others of the party are under way; all of them at its end."""
        from quickserveml_tui.tui.party import party_error, party_words

        left = sum(other.live for other in job.party)
        if left:
            role = Role.WARN if job.state is JobState.FAILED else Role.INFO
            self.tell(f"{job.kind.capitalize()} {job.subject}: {job.outcome}  {left:,} to go", role)
            return
        error = party_error(job.party, self.workbench.home_to_name if self.workbench is not None else "")
        if error is not None:
            self.tell_error(error, job.kind, anywhere=True)  # the cursor goes to what was added last
        else:
            self.tell(party_words(job.party).capitalize(), Role.OK)

    def sample_host(self) -> None:
        """Show the load of the machine."""
        raise NotImplementedError


def _run_there(workbench: Workbench, post: Callable[[Message], object], job: UiJob) -> Any:
    from quickserveml_tui.tui.flows.detached import run_detached
    from quickserveml_tui.tui.reporting import Reporter

    return run_detached(workbench, job, Reporter(post, job))


def _measure_here(
    workbench: Workbench, ref: str, spec: BenchmarkSpec, post: Callable[[Message], object], job: UiJob
) -> BenchmarkRun:
    """Where nothing may be written there is no record of a job either: the run lives as long as this window."""
    from quickserveml_tui.tui.reporting import Reporter

    reporter = Reporter(post, job)
    try:
        return workbench.benchmark.run(ref, spec, on_frame=reporter.frame, cancel=job.cancel, save=False)
    finally:
        reporter.flush()


def _check_batch(values: dict[str, str]) -> dict[str, Any]:
    if not values["data"]:
        raise UsageError("No data set is given.", hint="Type the path of a CSV or NPZ file; tab completes it.")
    data = Path(expanded(values["data"])).absolute()
    if not data.is_file():
        raise UsageError(
            f"There is no file “{safe_text(data.name, 120)}” there.", hint="Check the path; tab completes it."
        )
    output = str(Path(expanded(values["output"])).absolute()) if values["output"] else ""
    return {**values, "data": str(data), "output": output}
