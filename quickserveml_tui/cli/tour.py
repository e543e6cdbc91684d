"""The tour that `demo` prints without a terminal: every step is the real thing, on real models."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.work import Narrator, run_cancellable
from quickserveml_tui.core.benchmarks import BenchmarkSpec
from quickserveml_tui.core.catalog import CatalogPage, CatalogQuery
from quickserveml_tui.core.errors import NotFoundError
from quickserveml_tui.core.predictions import BatchSpec

if TYPE_CHECKING:
    import numpy as np

    from quickserveml_tui.core.benchmarks import BenchmarkRun
    from quickserveml_tui.core.catalog import ModelView, Resolved
    from quickserveml_tui.core.facts import ModelFacts
    from quickserveml_tui.core.ports import Workbench
    from quickserveml_tui.core.predictions import BatchResult, Prediction

MODEL = "digits"
_SECONDS = 1.5
_SHADES = " .:-=+*#%@"


@dataclass(frozen=True)
class Guess:
    """What a model says of one row of the test data."""

    row: int
    expected: int
    predicted: int
    pixels: np.ndarray[Any, Any]
    """The row as the square picture that it is, float32."""
    prediction: Prediction


@dataclass(frozen=True)
class Tour:
    """Everything the tour saw."""

    home: Path
    page: CatalogPage
    resolved: Resolved
    facts: ModelFacts
    run: BenchmarkRun
    guess: Guess
    batches: tuple[BatchResult, ...]


def run_tour(home: Path) -> None:
    """Register the demo models, look at one, measure it, ask it, and check it; print all of that."""
    narrator = Narrator(quiet=invocation.as_json)
    with invocation.workbench(home) as workbench:
        try:
            tour = _collect(workbench, narrator)
        finally:
            narrator.close()
    if invocation.as_json:
        invocation.output.document(_document(tour))
    else:
        from quickserveml_tui.cli.tour_text import print_tour

        print_tour(invocation.output, tour)


def _collect(workbench: Workbench, narrator: Narrator) -> Tour:
    run_cancellable(lambda cancel: workbench.demo.install(on_progress=narrator.on_progress, cancel=cancel))
    page = workbench.catalog.list_models(CatalogQuery())
    view = workbench.catalog.show(MODEL)
    data = workbench.demo.data_path(MODEL)
    if data is None:
        raise NotFoundError(
            "The demo's test data is missing.", hint="Install the program again.", code="demo.data_missing"
        )
    resolved = run_cancellable(lambda cancel: workbench.catalog.resolve(MODEL, runnable=True, cancel=cancel))
    facts = workbench.inspect.facts(resolved.ref)
    spec = BenchmarkSpec(duration_s=_SECONDS)
    run = run_cancellable(
        lambda cancel: workbench.benchmark.run(resolved.ref, spec, on_frame=narrator.on_frame, cancel=cancel)
    )
    guess = _guess(workbench, resolved.ref, facts, data)
    batches = tuple(_check(workbench, f"{MODEL}@{number}", data, narrator) for number in _runnable(view))
    return Tour(workbench.home, page, resolved, facts, run, guess, batches)


def _runnable(view: ModelView) -> list[int]:
    return [version.version for version in view.model.versions if version.runnable]


def _check(workbench: Workbench, ref: str, data: Path, narrator: Narrator) -> BatchResult:
    return run_cancellable(
        lambda cancel: workbench.batch.run(ref, str(data), BatchSpec(), on_progress=narrator.on_progress, cancel=cancel)
    )


def _guess(workbench: Workbench, ref: str, facts: ModelFacts, data: Path) -> Guess:
    import numpy as np

    pixels, labels = _read_digits(data)
    row = int(np.argmax(labels == 8))  # an eight: two loops show best at this size
    given = pixels[row].reshape(1, -1)
    prediction = workbench.predict.predict(ref, inputs={facts.inputs[0].name: given})
    side = round(given.size**0.5)
    return Guess(row, int(labels[row]), _class_of(prediction), given.reshape(side, side), prediction)


def _read_digits(data: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Pixels (float32, one row a picture) and labels of the demo's test data, NPZ or CSV."""
    import numpy as np

    if data.suffix == ".npz":
        with np.load(data, allow_pickle=False) as arrays:
            return arrays["pixels"], arrays["label"]
    table = np.loadtxt(data, delimiter=",", skiprows=1, dtype=np.float32)
    return table[:, :-1], table[:, -1].astype(np.int64)


def _class_of(prediction: Prediction) -> int:
    """The class a classifier chose: its integer output, else the place of its highest score."""
    import numpy as np

    arrays = [value for value in prediction.outputs.values() if isinstance(value, np.ndarray) and value.size]
    chosen = next((array for array in arrays if array.dtype.kind in "iu" and array.size == 1), None)
    return int(chosen.reshape(-1)[0]) if chosen is not None else int(np.argmax(arrays[0]))


def picture(pixels: np.ndarray[Any, Any]) -> list[str]:
    """A grey picture as text, two characters a pixel; the largest value is darkest."""
    top = float(pixels.max()) or 1.0
    return ["".join(_SHADES[int(value / top * (len(_SHADES) - 1))] * 2 for value in row).rstrip() for row in pixels]


def command(*words: str, home: Path) -> str:
    """A command line on the demo's home, ready to be copied."""
    return shlex.join(["quickserveml", *words, "--home", str(home)])


def plot_width() -> int:
    """Cells for a plot: the terminal's width, at most 100."""
    return min(shutil.get_terminal_size((80, 24)).columns, 100) - 2


def _document(tour: Tour) -> dict[str, Any]:
    from quickserveml_tui.cli.documents import batch_document, benchmark_document, inspect_document, model_document

    version = tour.resolved.version
    return {
        "home": str(tour.home),
        "models": [model_document(view) for view in tour.page.models],
        "inspect": inspect_document(tour.resolved, tour.facts, version.trial if version else None),
        "benchmark": benchmark_document(tour.run),
        "prediction": {
            "ref": tour.guess.prediction.ref,
            "row": tour.guess.row,
            "expected": tour.guess.expected,
            "predicted": tour.guess.predicted,
            "latency_ms": tour.guess.prediction.latency_ms,
        },
        "batches": [batch_document(result) for result in tour.batches],
    }
