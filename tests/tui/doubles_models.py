"""Headers, formats, trials, values, golden outputs and conversions in memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quickserveml_tui.core.catalog import AddResult
from quickserveml_tui.core.compatibility import Compatibility, Mismatch, RuntimeLimits
from quickserveml_tui.core.errors import NotFoundError, UsageError
from quickserveml_tui.core.facts import ModelFacts, ModelHeader
from quickserveml_tui.core.golden import GoldenCheck, GoldenReport, ValueDifference
from quickserveml_tui.core.jobs import Progress, ignore_progress
from quickserveml_tui.core.models import GoldenOutput, TrialOutcome, TrialReport
from quickserveml_tui.core.predictions import Prediction

STAMP = "2024-05-01T10:00:00.000Z"
RUNTIME = "onnxruntime 1.32.0"
LIMITS = RuntimeLimits(RUNTIME, 13, {"ai.onnx": 26})


class Looking:
    """The part of `InspectPort` that headers, formats and trials of files are read through."""

    def header(self, ref: str) -> ModelHeader:
        facts = self.facts(ref) if ref not in self.world.slow else self.world.slow[ref]
        return ModelHeader(
            ir_version=facts.ir_version, opsets=facts.opsets, producer=facts.producer, graph_name=facts.graph_name,
            inputs=facts.inputs, outputs=facts.outputs, size_bytes=facts.size_bytes, file_bytes=facts.size_bytes,
            nodes=facts.nodes, initializers=3, metadata=facts.metadata,
        )  # fmt: skip

    def totals(self, ref: str) -> ModelFacts:
        self.world.wait_until(self.world.finish_totals, "totals")
        if ref in self.world.broken:
            raise self.world.broken[ref]
        facts = self.facts(ref) if ref not in self.world.slow else self.world.slow[ref]
        return replace(facts, macs=None)

    def compatibility(self, ref: str) -> Compatibility:
        return Compatibility(LIMITS, self.world.mismatches.get(ref, ()))

    def trial(self, ref: str, *, cancel=None) -> TrialReport:
        return self.world.trials.get(ref, TrialReport(TrialOutcome.READY, runtime=RUNTIME, tried_at=STAMP))


TOO_NEW = Mismatch("opset of ai.onnx", 28, 26, "Convert it to opset 26 or older.")


class Feeding:
    """The part of `CatalogPort` that tries again and keeps overrides."""

    def _change_version(self, ref: str, **changes):
        name, _, number = ref.partition("@")
        model = self.world.models[name]
        versions = tuple(replace(item, **changes) if str(item.version) == number else item for item in model.versions)
        return self.world.put(replace(model, versions=versions))

    def retry(self, ref: str, *, cancel=None):
        self.world.retried.append(ref)
        self._change_version(ref, trial=self.world.trials.get(ref, TrialReport(TrialOutcome.READY)))
        return self.show(ref)

    def set_feed(self, ref: str, feed, *, cancel=None):
        self.world.trying.set()
        if cancel is not None:
            cancel.on_cancel(self.world.finish_trial.set)
        self.world.wait_until(self.world.finish_trial, "trial")
        if cancel is not None:
            cancel.raise_if_cancelled()
        name, _, number = ref.partition("@")
        inputs = self.world.models[name].version(int(number)).facts.inputs
        known = {dim for spec in inputs for dim in spec.shape or () if isinstance(dim, str)}
        if unknown := set(feed.dims) - known:
            raise UsageError(f"No dim is called “{min(unknown)}”.", hint="Leave it empty.", code="usage.override")
        if any(size > 64 for size in feed.dims.values()):
            raise UsageError("A batch of more than 64 does not fit this model.", code="usage.override")
        return self._change_version(ref, feed=feed)


class Predict:
    def __init__(self, world) -> None:
        self.world = world
        self.asked: list[tuple] = []
        self.saved: list[tuple] = []

    def predict(self, ref: str, *, inputs=None, feed=None, keep_inputs=False, cancel=None) -> Prediction:
        self.asked.append((ref, inputs, feed))
        if ref in self.world.broken:
            raise self.world.broken[ref]
        outputs = self.world.outputs or {"scores": np.arange(10, dtype=np.float32).reshape(1, 10)}
        dtypes = {name: str(getattr(value, "dtype", "seq(tensor(float32))")) for name, value in outputs.items()}
        return Prediction(outputs, dtypes, 1.25, ref, synthetic=inputs is None, runtime=RUNTIME)

    def save(self, prediction, path, *, overwrite=False):
        self.saved.append((sorted(prediction.outputs), path, overwrite))
        path.write_bytes(b"saved")
        return path


class Golden:
    def __init__(self, world) -> None:
        self.world = world
        self.asked: list[tuple] = []
        self.differing: set[str] = set()

    def record(self, ref: str, name: str = "", **options) -> GoldenOutput:
        self.asked.append((ref, name, options))
        golden = GoldenOutput(
            name or "default", "0" * 64, "1" * 64, STAMP, options["rtol"], options["atol"], options["notes"],
            "--seed 7", RUNTIME,
        )  # fmt: skip
        self._put(ref, (*self.list(ref), golden))
        return golden

    def _put(self, ref: str, items) -> None:
        self.world.catalog._change_version(ref, golden=tuple(items))

    def list(self, ref: str) -> tuple[GoldenOutput, ...]:
        name, _, number = ref.partition("@")
        return self.world.models[name].version(int(number)).golden

    def remove(self, ref: str, name: str):
        left = [item for item in self.list(ref) if item.name != name]
        if len(left) == len(self.list(ref)):
            raise NotFoundError(f"{ref} has no golden output “{name}”.", code="golden.not_found")
        self._put(ref, left)
        return self.world.models[ref.partition("@")[0]]

    def verify(self, ref: str, names=(), *, against="", on_progress=ignore_progress, cancel=None) -> GoldenReport:
        on_progress(Progress("verifying", 1, 2, "golden outputs"))
        return GoldenReport(ref, RUNTIME, tuple(self._check(item.name) for item in self.list(ref)))

    def _check(self, name: str) -> GoldenCheck:
        if name not in self.differing:
            return GoldenCheck(name, True, differences=(ValueDifference("scores", True, "", 1e-7, 1e-6, 0, 10),))
        reason = "3 of 10 elements of scores are beyond the tolerance."
        worst = ValueDifference("scores", False, reason, 0.25, 0.5, 3, 10)
        return GoldenCheck(name, False, reason, "golden.differs", (worst,), 1.5)


class Convert:
    def __init__(self, world) -> None:
        self.world = world
        self.asked: list = []

    def convert(self, request, *, on_progress=ignore_progress, cancel=None) -> AddResult:
        self.asked.append(request)
        on_progress(Progress("converting"))
        model = self.world.models[request.ref.partition("@")[0]]
        made = self.world.make_version(model.next_version, label=request.label)
        model = self.world.put(replace(model, versions=(*model.versions, made), next_version=made.version + 1))
        return AddResult(model, made)
