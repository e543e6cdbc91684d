"""Makes a golden output: runs the version, makes sure that it answers the same twice, and writes both files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quickserveml_tui.core.errors import ConflictError, DataError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.golden import DIFFERS, ValueDifference
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.runners import ModelRunner
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.units import format_bytes
from quickserveml_tui.services.golden_checks import first_difference
from quickserveml_tui.services.golden_expected import load_expected
from quickserveml_tui.storage.fs import store_error

if TYPE_CHECKING:
    from quickserveml_tui.core.values import Value

MAX_BYTES = 256 << 20
"""Largest file of inputs or outputs."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """Both files of a golden output, in a private folder."""

    inputs: Path
    outputs: Path
    runtime: str


@dataclass(frozen=True, slots=True)
class Recording:
    """What to record: from where the inputs come, and what is expected."""

    model: Path
    inputs: Path | None
    outputs: Path | None
    feed: FeedSpec
    rtol: float
    atol: float

    def make(self, runner: ModelRunner, folder: Path, cancel: CancelToken | None) -> Recorded:
        """Run the model twice on the same inputs and write them with the outputs to `folder`.

        Raises `ConflictError` (`golden.unstable`, `golden.differs`), `DataError` (`golden.too_large`, and for files
        that cannot be read or do not fit), and what a runner raises.
        """
        first = runner.predict(self.model, inputs=self.inputs, feed=self.feed, keep_inputs=True, cancel=cancel)
        inputs = _write(folder / "inputs.npz", first.inputs, "inputs")
        own = _write(folder / "outputs.npz", first.outputs, "outputs")
        unlike = self._compare(runner, inputs, own, cancel)
        if any(not item.ok for item in unlike):
            raise ConflictError(
                f"Two runs on the same inputs do not agree: {first_difference(unlike)}",
                hint="Give a wider --rtol or --atol, or take what is random out of the model.",
                code="golden.unstable",
            )
        if self.outputs is None:
            return Recorded(inputs, own, first.runtime)
        wanted = load_expected(self.outputs, first.outputs, MAX_BYTES)
        expected = _write(folder / "expected.npz", wanted, "expected outputs")
        unlike = self._compare(runner, inputs, expected, cancel)
        if any(not item.ok for item in unlike):
            raise ConflictError(
                f"The model does not answer what “{safe_text(self.outputs.name, 80)}” holds: "
                f"{first_difference(unlike)}",
                hint=_refusal_hint(unlike, first.outputs),
                code=DIFFERS,
            )
        return Recorded(inputs, expected, first.runtime)

    def _compare(
        self, runner: ModelRunner, inputs: Path, outputs: Path, cancel: CancelToken | None
    ) -> Sequence[ValueDifference]:
        differences, _run_ms = runner.compare(
            self.model, inputs=inputs, outputs=outputs, rtol=self.rtol, atol=self.atol, cancel=cancel
        )
        return differences


def _refusal_hint(differences: Sequence[ValueDifference], outputs: Mapping[str, Value]) -> str:
    """What to do about outputs that differ: a wider tolerance only helps where all of them are floats of one shape."""
    keep = "leave --outputs out to keep what the model answers."
    wrong = [item for item in differences if not item.ok]
    if all(item.max_abs is not None and _is_float(outputs.get(item.output)) for item in wrong):
        return f"Give a wider --rtol or --atol, or {keep}"
    return f"No tolerance covers that: correct the file, or {keep}"


def _is_float(value: Value) -> bool:
    """Whether the value has floats, as a tolerance has no say over integers, booleans and strings."""
    kind = getattr(getattr(value, "dtype", None), "kind", "f")
    return kind in "fcV"


def _write(path: Path, values: Mapping[str, Any], what: str) -> Path:
    from quickserveml_tui.runtime.value_files import save_values

    data = save_values(values)
    if len(data) > MAX_BYTES:
        raise DataError(
            f"The {what} take {format_bytes(len(data))}, and a golden output holds at most {format_bytes(MAX_BYTES)}.",
            hint="Record it on smaller inputs.",
            code="golden.too_large",
        )
    try:
        path.write_bytes(data)
    except OSError as error:
        raise store_error(error, "artifact store") from error
    return path
