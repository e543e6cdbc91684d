"""What a trial's report says of a runner that died, hung or ran out of memory."""

from __future__ import annotations

from dataclasses import replace

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import QuickServeError, RunnerCrashedError, RunnerError, RunnerTimeoutError
from quickserveml_tui.core.models import TrialOutcome, TrialReport
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.units import format_bytes
from quickserveml_tui.runtime.host import describe_signal

MAX_REASON = 400
TIMEOUT_SETTING = "trial.timeout_s"
MEMORY_SETTING = "trial.memory"
OUT_OF_MEMORY = "runtime.out_of_memory"


def report_of(outcome: TrialOutcome, error: QuickServeError, runtime: str) -> TrialReport:
    """The report of a trial that ended with an error."""
    detail = "\n".join(part for part in (error.hint, error.detail) if part)
    return TrialReport(
        outcome,
        reason=safe_text(error.message, MAX_REASON),
        detail=detail,
        signal=error.signal if isinstance(error, RunnerCrashedError) else "",
        runtime=runtime,
        code=error.code,
        tried_at=utc_now(),
    )


def breaking_report(error: RunnerError, runtime: str, limit_s: float, *, starved: bool = False) -> TrialReport:
    """The report of a trial that broke its runner; `starved` says that the system killed a process for its memory."""
    return report_of(TrialOutcome.UNRUNNABLE, _named(error, limit_s, starved=starved), runtime)


def with_ones(report: TrialReport, crash: TrialReport) -> TrialReport:
    """The report of a model that runs on integers that are all 1, after other made-up ones ended its process."""
    warning = (
        f"Made-up integers of 0 and 1 end the model's process ({describe_signal(crash.signal)}); it was tried with "
        "integers that are all 1. `quickserveml feed` with --range NAME=1:1 keeps such values."
    )
    return replace(report, warning=warning)


def out_of_memory(cap_bytes: int | None) -> RunnerError:
    """The error of a model that takes more memory than its cap."""
    most = f" than the {format_bytes(cap_bytes)} that it may use" if cap_bytes else " than there is"
    return RunnerError(
        f"The model needs more memory{most}; the setting {MEMORY_SETTING} raises the limit.",
        hint="Give it smaller inputs (`quickserveml feed`), or more memory: "
        f"`quickserveml config set {MEMORY_SETTING} GB`.",
        code=OUT_OF_MEMORY,
    )


def _named(error: RunnerError, limit_s: float, *, starved: bool) -> RunnerError:
    if isinstance(error, RunnerTimeoutError):
        return RunnerTimeoutError(
            f"The model did not finish its trial within {limit_s:.3g} s; the setting {TIMEOUT_SETTING} raises the "
            "limit.",
            hint="It may loop without end, or need smaller inputs (`quickserveml feed`) or more time: "
            f"`quickserveml config set {TIMEOUT_SETTING} SECONDS`.",
            detail=error.detail,
        )
    if starved and isinstance(error, RunnerCrashedError) and error.signal == "SIGKILL":
        return RunnerCrashedError(
            f"The system ended the model's process for lack of memory ({describe_signal('SIGKILL')}).",
            signal=error.signal,
            hint="Give it smaller inputs (`quickserveml feed`), or try it on a machine with more memory.",
            code=OUT_OF_MEMORY,
            detail=error.detail,
        )
    return error
