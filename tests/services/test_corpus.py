"""Every model of the onnx package runs in the program as it does in raw onnxruntime, or is refused in one sentence."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from corpus_raw import canonical, raw_results
from onnx_cases import OnnxCase, file_cases, node_cases

from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.core.models import TrialOutcome, TrialReport
from quickserveml_tui.services.home import open_workbench

CHUNKS = 8
GENERIC = {"model.load_failed", "data.run_failed", "model.unrunnable", "runtime.failed", "runtime.fault", "internal"}


@dataclass(frozen=True)
class Answer:
    """What the program made of a case."""

    error: QuickServeError | None = None
    outputs: list[object] | None = None


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    workbench = open_workbench(tmp_path_factory.mktemp("corpus") / "home")
    yield workbench
    workbench.close()


def answer(bench, path: Path, case: OnnxCase) -> Answer:
    try:
        prediction = bench.predict.predict(str(path), inputs=case.inputs)
    except QuickServeError as error:
        return Answer(error)
    return Answer(outputs=list(prediction.outputs.values()))


def check(bench, cases, folder) -> None:
    """Fail where the program and raw onnxruntime differ, or the trial and the run on real inputs."""
    paths = [case.path or _written(case, folder) for case in cases]
    truth = raw_results([(str(path), case.inputs) for path, case in zip(paths, cases, strict=True)], folder)
    found, unfit = [], []
    for path, case, (verdict, value) in zip(paths, cases, truth, strict=True):
        got, report = answer(bench, path, case), bench.inspect.trial(str(path))
        problem = _refusal_problem(got, verdict, value) if got.error else _output_problem(got, case, verdict, value)
        problem = problem or _trial_problem(got, report)
        if problem:
            found.append(f"{case.name}: {problem}")
        if got.error is None and report.outcome is not TrialOutcome.READY:
            unfit.append(f"{case.name}: {report.code}: {report.reason}")
    assert "\n".join(found) == ""
    # Inputs that are shapes, splits or frame sizes cannot all be guessed.
    assert len(unfit) <= 0.05 * len(cases), "\n".join(unfit)


def _trial_problem(got: Answer, report: TrialReport) -> str:
    ready = report.outcome is TrialOutcome.READY
    if got.error is not None and got.error.code.startswith("model.") and report.code != got.error.code:
        return f"its trial says {report.code or 'ready'}, its run {got.error.code}"
    if not ready and not (report.reason.isprintable() and 0 < len(report.reason) <= 400 and report.code):
        return f"not one printable sentence with a code: {report!r}"
    return ""


def _written(case: OnnxCase, folder: Path) -> Path:
    path = folder / f"{case.name}.onnx"
    path.write_bytes(case.model)
    return path


def _refusal_problem(got: Answer, verdict: str, raw: object) -> str:
    error = got.error
    assert error is not None
    if verdict == "ok":
        return f"runs, but was refused with {error.code}: {error.message}"
    if error.code in GENERIC:
        return f"{error.code} for: {raw}"
    if not (error.message.isprintable() and len(error.message) <= 300 and error.hint):
        return f"not one printable sentence with a hint: {error.message!r}"
    return ""


def _output_problem(got: Answer, case: OnnxCase, verdict: str, raw) -> str:
    if verdict != "ok":
        return f"ran, but raw onnxruntime refused ({verdict}): {str(raw)[:200]}"
    ours = [canonical(value) for value in got.outputs]
    if case.is_random:
        return "" if [_form(item) for item in ours] == [_form(item) for item in raw] else "other types or shapes"
    if ours != raw:
        return f"other outputs: {str(ours)[:120]} for {str(raw)[:120]}"
    return ""


def _form(value):
    return value[:3] if value and value[0] == "tensor" else value


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_node_models_run_or_are_refused_as_in_raw_onnxruntime(bench, tmp_path, chunk):
    cases = node_cases()
    assert len(cases) >= 1_500
    check(bench, cases[chunk::CHUNKS], tmp_path)


def test_model_files_run_or_are_refused_as_in_raw_onnxruntime(bench, tmp_path):
    cases = file_cases()
    assert len(cases) >= 100
    check(bench, cases, tmp_path)
