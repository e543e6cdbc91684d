"""Understand models, run them, check and convert them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from quickserveml_tui.core.catalog import AddResult
from quickserveml_tui.core.compatibility import Compatibility, Conversion, ConvertRequest
from quickserveml_tui.core.facts import LayerPage, ModelFacts, ModelHeader
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.golden import GoldenContent, GoldenReport
from quickserveml_tui.core.jobs import CancelToken, ProgressSink, ignore_progress
from quickserveml_tui.core.models import GoldenOutput, ModelRecord, TrialReport
from quickserveml_tui.core.predictions import Prediction


class InspectPort(Protocol):
    """Understand a model."""

    def header(self, ref: str) -> ModelHeader:
        """What a model says at once, also one of gigabytes."""
        ...

    def compatibility(self, ref: str) -> Compatibility:
        """The model's formats beside what the installed runtime takes."""
        ...

    def totals(self, ref: str) -> ModelFacts:
        """Facts of a model, those of a file without multiply-adds and the checker's finding."""
        ...

    def facts(self, ref: str) -> ModelFacts:
        """Facts of a model."""
        ...

    def schema(self, ref: str) -> dict[str, Any]:
        """JSON Schema of `request` and `response`, and an `example` request."""
        ...

    def layers(self, ref: str, offset: int = 0, limit: int = 10_000, *, shapes: bool = True) -> LayerPage:
        """A part of the layer table; without `shapes` at once, `LayerPage.shapes` says whether they are there."""
        ...

    def trial(self, ref: str, *, cancel: CancelToken | None = None) -> TrialReport:
        """Whether the model runs: a registered version's report, or a trial of a file, made now in a runner."""
        ...


class PredictPort(Protocol):
    """Run one inference."""

    def predict(
        self,
        ref: str,
        *,
        inputs: Path | Mapping[str, Any] | None = None,
        feed: FeedSpec = ...,
        keep_inputs: bool = False,
        cancel: CancelToken | None = None,
    ) -> Prediction:
        """Outputs for given or synthetic inputs; overrides saved with the version hold where `feed` says nothing."""
        ...

    def save(self, prediction: Prediction, path: Path, *, overwrite: bool = False) -> None:
        """Write the outputs to an NPZ or JSON file, by the suffix of `path`."""
        ...


class GoldenPort(Protocol):
    """Inputs with the outputs they must give, kept per version."""

    def record(
        self,
        ref: str,
        name: str = "",
        *,
        inputs: Path | None = None,
        outputs: Path | None = None,
        feed: FeedSpec = ...,
        rtol: float = 1e-4,
        atol: float = 1e-5,
        notes: str = "",
        overwrite: bool = False,
        cancel: CancelToken | None = None,
    ) -> GoldenOutput:
        """Run a version and keep inputs and outputs; with `outputs`, a file, those are what is expected.

        An empty `name` takes `default`, then `default-2` and so on. Raises `ConflictError` (`golden.exists`,
        `golden.unstable` when two runs on the same inputs differ beyond the tolerance, `golden.differs` when given
        outputs are not what the model answers).
        """
        ...

    def list(self, ref: str) -> tuple[GoldenOutput, ...]:
        """The golden outputs of a version, by name."""
        ...

    def content(self, ref: str, name: str) -> GoldenContent:
        """One with its values. Raises `NotFoundError` (`golden.not_found`), `StoreError`, `DataError`."""
        ...

    def export(self, ref: str, name: str, folder: str, *, overwrite: bool = False) -> tuple[Path, Path]:
        """Write inputs and expected outputs to two NPZ files in a folder; returns their paths.

        Raises `NotFoundError`, `StoreError`, `ConflictError` (`export.exists`), `UsageError` (`usage.path`) and
        `DataError` (`output.unwritable`).
        """
        ...

    def remove(self, ref: str, name: str) -> ModelRecord:
        """Take one away. Raises `NotFoundError` (`golden.not_found`)."""
        ...

    def verify(
        self,
        ref: str,
        names: Sequence[str] = (),
        *,
        against: str = "",
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> GoldenReport:
        """Run these golden outputs again, or all of the version, in a runner; with `against`, those of that one."""
        ...


class ConvertPort(Protocol):
    """Make versions that the installed runtime takes."""

    def convert(
        self, request: ConvertRequest, *, on_progress: ProgressSink = ignore_progress, cancel: CancelToken | None = None
    ) -> AddResult:
        """Convert a version, check that its outputs stay equal, and add it as a new version with its lineage.

        Raises `UsageError` (`usage.convert`), `ModelError` (`convert.unneeded`, `convert.failed`, `convert.differs`,
        `convert.unverified`); nothing is added then.
        """
        ...

    def write(
        self,
        request: ConvertRequest,
        output: str,
        *,
        overwrite: bool = False,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> Conversion:
        """Convert a file or a version into another file, with its external data beside it; checked as in `convert`.

        Raises as `convert` does, and `ConflictError` (`export.exists`), `UsageError` (`usage.path`) and `DataError`
        (`output.unwritable`) for the output.
        """
        ...
