"""Whether a converted model still answers what its original answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from quickserveml_tui.core.compatibility import ConvertRequest
from quickserveml_tui.core.errors import CancelledError, DataError, ModelError, QuickServeError, UsageError
from quickserveml_tui.core.facts import ModelFacts
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.golden import DIFFERS, GoldenCheck, ValueDifference
from quickserveml_tui.core.jobs import CancelToken, Progress, ProgressSink
from quickserveml_tui.core.models import GoldenOutput, TrialOutcome, TrialReport
from quickserveml_tui.core.predictions import Prediction
from quickserveml_tui.core.runners import RunnerPool
from quickserveml_tui.core.stores import ArtifactStore
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.core.values import Value
from quickserveml_tui.services.convert_inputs import further_inputs, has_content, largest
from quickserveml_tui.services.golden_checks import GoldenChecks

RANDOM_OPERATORS = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
DEFAULT_FEED = FeedSpec()
READY = TrialOutcome.READY
GONE = ("artifact.missing", "artifact.corrupt")
"""Codes of golden outputs whose files are lost, whatever model they are held against."""
_OTHER_OPSET = "Nothing was kept; choose an opset nearer to the model's own, or export the model again."


@dataclass(frozen=True, slots=True)
class Original:
    """What is converted."""

    ref: str
    path: Path
    facts: ModelFacts
    feed: FeedSpec = DEFAULT_FEED
    golden: tuple[GoldenOutput, ...] = ()
    quarantined: bool = False
    """Whether it broke its runner: it is not run again."""
    runnable: bool = False
    """Whether its trial found it ready; else it is tried before it is run, for a trial has a short limit."""


@dataclass(frozen=True, slots=True)
class Checked:
    """How a converted model was compared."""

    source: str
    """What the original's outputs came from: `onnxruntime 1.32.0`, `onnx reference`; empty when nothing could run."""
    golden: tuple[GoldenOutput, ...]
    """Golden outputs that it gives."""
    left: tuple[str, ...] = ()
    """Names of golden outputs that do not go with it, as the original does not pass them either."""

    @property
    def sentence(self) -> str:
        """What its outputs are equal to."""
        parts = [self.source] if self.source else []
        parts += [plural(len(self.golden), "golden output")] if self.golden else []
        return " and ".join(parts)

    @property
    def warning(self) -> str:
        """What became of golden outputs that do not go with it; empty when all do."""
        return left_behind(self.left)


class ConversionCheck:
    """Runs original and converted model on the same inputs."""

    def __init__(
        self, artifacts: ArtifactStore, runners: RunnerPool, on_progress: ProgressSink, cancel: CancelToken
    ) -> None:
        self._artifacts = artifacts
        self._runners = runners
        self._on_progress = on_progress
        self._cancel = cancel

    def check(self, original: Original, converted: Path, request: ConvertRequest) -> Checked:
        """How the converted model was compared.

        Raises `ModelError`: `convert.differs`, `convert.failed` when the converted model does not run, and
        `convert.unverified` when there is nothing to compare it with.
        """
        feed = replace(original.feed, seed=request.seed or original.feed.seed)
        source, why = "", ""
        try:
            source = self._compare(original, converted, feed, request)
        except _NothingToCompareError as error:
            why = error.message
        golden, left = self._golden(original, converted)
        if not source and not golden:
            raise ModelError(
                f"Nothing says whether the converted {original.ref} is right: {why}",
                hint="Record a golden output of it where it runs, export it again with the wanted opset, "
                "or convert the file with onnx.version_converter and check it yourself.",
                code="convert.unverified",
            )
        return Checked(source, golden, left)

    # ---- synthetic inputs -----------------------------------------------------------------------------------------

    def _compare(self, original: Original, converted: Path, feed: FeedSpec, request: ConvertRequest) -> str:
        expected = None if original.quarantined else self._run_original(original, feed)
        if expected is not None:
            again = self._predict(original.path, inputs=expected.inputs)
            if any(not item.ok for item in _differences(expected.outputs, again.outputs, request)):
                raise _NothingToCompareError(_random(original.facts))
            self._check_runs(converted, feed, original.facts.nodes)
            inputs: Mapping[str, Value] = expected.inputs
            outputs: Mapping[str, Value] = expected.outputs
            self._expect(outputs, self._run_converted(converted, inputs).outputs, request)
        else:
            self._check_runs(converted, feed, original.facts.nodes)
            actual = self._run_converted(converted, None, feed)
            inputs, outputs = actual.inputs, self._run_reference(original, actual.inputs)
            self._expect(outputs, actual.outputs, request)
        more = self._compare_more(original, converted, inputs, feed, request, by_reference=expected is None)
        if not has_content(outputs) and not more:
            raise _NothingToCompareError("its outputs on synthetic inputs are empty or without finite numbers.")
        return "onnx reference" if expected is None else expected.runtime or "onnxruntime"

    def _compare_more(
        self,
        original: Original,
        converted: Path,
        inputs: Mapping[str, Value],
        feed: FeedSpec,
        request: ConvertRequest,
        *,
        by_reference: bool,
    ) -> bool:
        """Compare on further inputs, as far as the original takes them. Returns whether any output had content."""
        seen = False
        for more in further_inputs(inputs, feed):
            try:
                outputs = (
                    self._run_reference(original, more)
                    if by_reference
                    else self._predict(original.path, inputs=more).outputs
                )
            except CancelledError:
                raise
            except QuickServeError:  # values that the original refuses say nothing about the converted model
                continue
            self._expect(outputs, self._run_converted(converted, more).outputs, request)
            seen |= has_content(outputs)
        return seen

    def _run_original(self, original: Original, feed: FeedSpec) -> Prediction | None:
        self._say("running the original")
        try:
            if not original.runnable and self._try(original.path, feed, original.facts.nodes).outcome != READY:
                return None
            return self._predict(original.path, feed=feed)
        except CancelledError:
            raise
        except UsageError as error:  # saved overrides that do not fit
            raise _NothingToCompareError(error.message) from error
        except QuickServeError:
            return None

    def _run_converted(
        self, path: Path, inputs: Mapping[str, Value] | None, feed: FeedSpec = DEFAULT_FEED
    ) -> Prediction:
        self._say("running the converted model")
        try:
            return self._predict(path, inputs=inputs, feed=feed)
        except CancelledError:
            raise
        except DataError as error:
            if inputs is None:
                raise _NothingToCompareError(error.message) from error
            raise _unrunnable(error) from error
        except QuickServeError as error:
            raise _unrunnable(error) from error

    def _run_reference(self, original: Original, inputs: Mapping[str, Value]) -> Mapping[str, Value]:
        if RANDOM_OPERATORS & set(original.facts.op_types):
            raise _NothingToCompareError(_random(original.facts))
        self._say("evaluating the original")
        try:
            with self._runners.borrow() as runner:
                return runner.reference(original.path, inputs=inputs, cancel=self._cancel)
        except CancelledError:
            raise
        except QuickServeError as error:
            raise _NothingToCompareError(f"onnxruntime cannot run the original. {error.message}") from error

    def _try(self, path: Path, feed: FeedSpec, nodes: int) -> TrialReport:
        """Whether it runs at all, within the limit of a trial: a run may take as long as whoever asks for it waits."""
        with self._runners.borrow() as runner:
            return runner.trial(path, feed, nodes=nodes, cancel=self._cancel)

    def _check_runs(self, converted: Path, feed: FeedSpec, nodes: int) -> None:
        """Raise `ModelError` (`convert.failed`) for a converted model that does not pass a trial."""
        try:
            report = self._try(converted, feed, nodes)
        except UsageError as error:  # saved overrides that do not fit
            raise _NothingToCompareError(error.message) from error
        if report.outcome is READY:
            return
        if report.code.startswith("data."):  # made-up inputs do not suit it; golden outputs may
            raise _NothingToCompareError(report.reason)
        raise _unrunnable(ModelError(report.reason, detail=report.detail))

    def _predict(
        self, path: Path, *, inputs: Mapping[str, Value] | None = None, feed: FeedSpec = DEFAULT_FEED
    ) -> Prediction:
        with self._runners.borrow() as runner:
            return runner.predict(path, inputs=inputs, feed=feed, keep_inputs=True, cancel=self._cancel)

    def _expect(self, expected: Mapping[str, Value], actual: Mapping[str, Value], request: ConvertRequest) -> None:
        self._say("comparing")
        raise_if_different(_differences(expected, actual, request))

    # ---- golden outputs -------------------------------------------------------------------------------------------

    def _golden(self, original: Original, converted: Path) -> tuple[tuple[GoldenOutput, ...], tuple[str, ...]]:
        """The golden outputs that the converted model gives, and the names of those that the original fails as it does.

        Any other failure, whatever it is, refuses the conversion: nobody would miss a golden output that is gone.
        """
        if not original.golden:
            return (), ()
        checks = self._run_golden(converted, original.golden)
        by_name = {item.name: item for item in original.golden}
        failed = [check for check in checks if not check.ok]
        before = {check.name: check.code for check in failed if check.code in GONE}
        again = [by_name[check.name] for check in failed if check.name not in before]
        if again and not original.quarantined:
            before |= {check.name: check.code for check in self._run_golden(original.path, again)}
        raise_if_failed([check for check in failed if before.get(check.name) != check.code])
        left = tuple(check.name for check in failed)
        return tuple(by_name[check.name] for check in checks if check.ok), left

    def _run_golden(self, path: Path, items: Sequence[GoldenOutput]) -> tuple[GoldenCheck, ...]:
        checks = GoldenChecks(self._artifacts, self._runners)
        return checks.run(path, items, on_progress=self._on_progress, cancel=self._cancel)

    def _say(self, phase: str) -> None:
        self._cancel.raise_if_cancelled()
        self._on_progress(Progress(phase))


class _NothingToCompareError(QuickServeError):
    """Why there are no outputs of the original."""


def _random(facts: ModelFacts) -> str:
    names = ", ".join(sorted(RANDOM_OPERATORS & set(facts.op_types)))
    because = f" ({names})" if names else ""
    return f"its outputs are random{because} and cannot be compared."


def _unrunnable(error: QuickServeError) -> ModelError:
    return ModelError(
        f"The converted model does not run: {error.message}",
        hint=_OTHER_OPSET,
        code="convert.failed",
        detail=error.detail,
    )


def _differences(
    expected: Mapping[str, Value], actual: Mapping[str, Value], request: ConvertRequest
) -> tuple[ValueDifference, ...]:
    from quickserveml_tui.runtime.compare import compare_values

    found: list[ValueDifference] = []
    for name in {**expected, **actual}:  # each with a tolerance of its own
        one, two = ({name: side[name]} if name in side else {} for side in (expected, actual))
        atol = min(request.atol, request.rtol * largest(one.get(name)))
        found += compare_values(one, two, request.rtol, atol)
    return tuple(found)


def raise_if_different(differences: Sequence[ValueDifference]) -> None:
    """Raise `ModelError` (`convert.differs`) that names the worst output."""
    wrong = [item for item in differences if not item.ok]
    if not wrong:
        return
    worst = max(wrong, key=lambda item: (item.max_abs is None, item.max_abs or 0.0))
    reason = worst.reason or f"by up to {worst.max_abs}"
    more = f" So do {plural(len(wrong) - 1, 'other output')}." if len(wrong) > 1 else ""
    raise ModelError(
        f"The converted model answers otherwise in “{safe_text(worst.output, 80)}”: {reason.rstrip('.')}.{more}",
        hint=_OTHER_OPSET,
        code="convert.differs",
    )


def raise_if_failed(checks: Sequence[GoldenCheck]) -> None:
    """Raise `ModelError` (`convert.differs`, else `convert.failed`) that names the first golden output."""
    first = next((check for check in checks if check.code == DIFFERS), checks[0] if checks else None)
    if first is not None:
        raise ModelError(
            f"The converted model does not give the golden output {safe_text(first.name, 80)}: {first.reason}",
            hint=_OTHER_OPSET,
            code="convert.differs" if first.code == DIFFERS else "convert.failed",
        )


def left_behind(names: Sequence[str]) -> str:
    """A sentence on golden outputs that do not go with the new version; empty when there are none."""
    if not names:
        return ""
    listed = ", ".join(safe_text(name, 80) for name in names[:5]) + (", …" if len(names) > 5 else "")
    return f"{plural(len(names), 'golden output')} left behind, as the original does not pass: {listed}."
