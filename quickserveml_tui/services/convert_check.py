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
from quickserveml_tui.core.models import GoldenOutput
from quickserveml_tui.core.predictions import Prediction
from quickserveml_tui.core.runners import RunnerPool
from quickserveml_tui.core.stores import ArtifactStore
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.core.values import Value
from quickserveml_tui.services.golden_checks import GoldenChecks

RANDOM_OPERATORS = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
DEFAULT_FEED = FeedSpec()
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


@dataclass(frozen=True, slots=True)
class Checked:
    """How a converted model was compared."""

    source: str
    """What the original's outputs came from: `onnxruntime 1.32.0`, `onnx reference`; empty when nothing could run."""
    golden: tuple[GoldenOutput, ...]
    """Golden outputs that it gives."""

    @property
    def sentence(self) -> str:
        """What its outputs are equal to."""
        parts = [self.source] if self.source else []
        parts += [plural(len(self.golden), "golden output")] if self.golden else []
        return " and ".join(parts)


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
        golden = self._golden(original, converted)
        if not source and not golden:
            raise ModelError(
                f"Nothing says whether the converted {original.ref} is right: {why}",
                hint="Record a golden output of it where it runs, export it again with the wanted opset, "
                "or convert the file with onnx.version_converter and check it yourself.",
                code="convert.unverified",
            )
        return Checked(source, golden)

    # ---- synthetic inputs -----------------------------------------------------------------------------------------

    def _compare(self, original: Original, converted: Path, feed: FeedSpec, request: ConvertRequest) -> str:
        expected = None if original.quarantined else self._run_original(original.path, feed)
        if expected is not None:
            again = self._predict(original.path, inputs=expected.inputs)
            if any(not item.ok for item in _differences(expected.outputs, again.outputs, request)):
                raise _NothingToCompareError(_random(original.facts))
            self._expect(expected.outputs, self._run_converted(converted, expected.inputs).outputs, request)
            return expected.runtime or "onnxruntime"
        actual = self._run_converted(converted, None, feed)
        self._expect(self._run_reference(original, actual.inputs), actual.outputs, request)
        return "onnx reference"

    def _run_original(self, path: Path, feed: FeedSpec) -> Prediction | None:
        self._say("running the original")
        try:
            return self._predict(path, feed=feed)
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

    def _predict(
        self, path: Path, *, inputs: Mapping[str, Value] | None = None, feed: FeedSpec = DEFAULT_FEED
    ) -> Prediction:
        with self._runners.borrow() as runner:
            return runner.predict(path, inputs=inputs, feed=feed, keep_inputs=True, cancel=self._cancel)

    def _expect(self, expected: Mapping[str, Value], actual: Mapping[str, Value], request: ConvertRequest) -> None:
        self._say("comparing")
        raise_if_different(_differences(expected, actual, request))

    # ---- golden outputs -------------------------------------------------------------------------------------------

    def _golden(self, original: Original, converted: Path) -> tuple[GoldenOutput, ...]:
        """The golden outputs that the converted model gives; one that the original does not give either is left out."""
        if not original.golden:
            return ()
        checks = self._run_golden(converted, original.golden)
        by_name = {item.name: item for item in original.golden}
        wrong = [check for check in checks if check.code == DIFFERS]
        if wrong:
            stale = (
                ()
                if original.quarantined
                else self._run_golden(original.path, tuple(by_name[check.name] for check in wrong))
            )
            given_up = {check.name for check in stale if check.code == DIFFERS}
            raise_if_differently([check for check in wrong if check.name not in given_up])
        return tuple(by_name[check.name] for check in checks if check.ok)

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

    return compare_values(expected, actual, request.rtol, request.atol)


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


def raise_if_differently(checks: Sequence[GoldenCheck]) -> None:
    """Raise `ModelError` (`convert.differs`) that names the first golden output."""
    if checks:
        raise ModelError(
            f"The converted model does not give the golden output {safe_text(checks[0].name, 80)}: {checks[0].reason}",
            hint=_OTHER_OPSET,
            code="convert.differs",
        )
