"""The models and data that come with the program, and the light networks of the onnx package."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.errors import (
    CancelledError,
    ConflictError,
    NotFoundError,
    QuickServeError,
    StoreError,
)
from quickserveml_tui.core.jobs import CancelToken, Progress, ProgressSink, ignore_progress
from quickserveml_tui.core.models import MetadataPatch, ModelRecord, VersionRecord
from quickserveml_tui.core.ports import CatalogPort
from quickserveml_tui.core.text import safe_text

DIGITS = "digits"
DEMO_TAG = "demo"
TEST_DATA = "digits_test.csv"

_DIGITS_ABOUT = (
    "Handwritten digits of 8×8 pixels, three networks with the same input: compare their speed and accuracy."
)
_REFERENCE_ABOUT = "reference architecture, untrained weights: timing is real, predictions mean nothing"


@dataclass(frozen=True, slots=True)
class DemoVersion:
    """One version that the demo registers."""

    request: AddRequest
    notes: str = ""


def demo_folder() -> Path:
    """The folder with the packaged models and data."""
    return Path(str(resources.files("quickserveml_tui.services").joinpath("demo_data")))


def _digits(file: str, label: str, alias: str, notes: str) -> DemoVersion:
    request = AddRequest(
        path=str(demo_folder() / file),
        name=DIGITS,
        label=label,
        alias=alias,
        tags=(DEMO_TAG, "digits", "vision"),
        task="image-classification",
        author="the QuickServeML TUI contributors",
        description=_DIGITS_ABOUT,
        framework="scikit-learn, numpy",
        license="MIT",
        metadata={"data": "UCI Optical Recognition of Handwritten Digits, CC BY 4.0", "test_data": TEST_DATA},
    )
    return DemoVersion(request, notes)


def digits_versions() -> tuple[DemoVersion, ...]:
    """The three digits classifiers, oldest first."""
    return (
        _digits("digits_mlp.onnx", "1.0.0", "", "Multilayer perceptron 64-64-10, trained by scikit-learn."),
        _digits("digits_cnn.onnx", "2.0.0", "prod", "Two convolutions and two dense layers, trained in numpy."),
        _digits("digits_cnn_int8.onnx", "3.0.0", "staging", "Version 2 with 8-bit weights and activations."),
    )


_LIGHT = (
    ("squeezenet", "light_squeezenet.onnx", "SqueezeNet 1.0"),
    ("shufflenet", "light_shufflenet.onnx", "ShuffleNet"),
    ("inception-v1", "light_inception_v1.onnx", "Inception v1 (GoogLeNet)"),
    ("densenet121", "light_densenet121.onnx", "DenseNet-121"),
    ("inception-v2", "light_inception_v2.onnx", "Inception v2"),
    ("resnet50", "light_resnet50.onnx", "ResNet-50"),
    ("alexnet", "light_bvlc_alexnet.onnx", "AlexNet"),
)
"""Cheapest first. Left out: zfnet512 (670 MB in memory) and vgg19 (950 MB, 2 s to load), measured on two EPYC cores."""


def light_folder() -> Path | None:
    """Where the onnx package keeps its light networks; found without importing it."""
    spec = importlib.util.find_spec("onnx")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(root) / "backend" / "test" / "data" / "light"
        if folder.is_dir():
            return folder
    return None


def light_versions(folder: Path | None) -> tuple[DemoVersion, ...]:
    """The light networks that are there."""
    if folder is None:
        return ()
    return tuple(
        DemoVersion(
            AddRequest(
                path=str(folder / file),
                name=name,
                tags=(DEMO_TAG, "reference", "vision"),
                task="image-classification",
                author="ONNX model zoo, by way of the onnx package",
                description=f"{title}: {_REFERENCE_ABOUT}.",
                license="Apache-2.0",
            )
        )
        for name, file, title in _LIGHT
        if (folder / file).is_file()
    )


@dataclass(slots=True)
class _Tally:
    added: int = 0
    failed: list[str] = field(default_factory=list)


class DemoService:
    """`DemoPort` on the catalog."""

    def __init__(self, catalog: CatalogPort) -> None:
        self._catalog = catalog

    def install(self, *, on_progress: ProgressSink = ignore_progress, cancel: CancelToken | None = None) -> int:
        """Register the demo models that are not there yet, digits first; returns how many versions were added.

        A model of the user's that holds a demo file under its demo name is left alone, and so are aliases that were
        moved. A network that cannot be added is named in the last progress note. Raises `ConflictError`
        (`name.taken`), with nothing added, where another model has a demo name; `CancelledError`, with what was added
        kept; and `StoreError`.
        """
        token = cancel or CancelToken()
        versions = (*digits_versions(), *light_versions(light_folder()))
        self._check_names(versions)
        tally = _Tally()
        for done, version in enumerate(versions):
            token.raise_if_cancelled()
            on_progress(_progress(done, len(versions), tally, version.request.name))
            self._install_one(version, tally, token)
        note = f"Not added: {', '.join(tally.failed)}." if tally.failed else ""
        on_progress(_progress(len(versions), len(versions), tally, note))
        return tally.added

    def data_path(self, model: str) -> Path | None:
        """The test data that fits a demo model, given by name or reference: a CSV file with a `label` column.

        None for any other model, also one that is merely called like a demo model.
        """
        if model.partition("@")[0] != DIGITS:
            return None
        path = demo_folder() / TEST_DATA
        return path if path.is_file() and self._is_demos(model) else None

    def _is_demos(self, ref: str) -> bool:
        """Whether the version is one of the demo's own files."""
        try:
            resolved = self._catalog.resolve(ref)
        except QuickServeError:  # it is only a proposal; whoever then uses the model is told
            return False
        if resolved.version is None:
            return False
        return _digest_of(resolved.version) in {_file_digest(Path(item.request.path)) for item in digits_versions()}

    def _check_names(self, versions: tuple[DemoVersion, ...]) -> None:
        """Refuse to mix the demo with models that have nothing but their name in common with it."""
        files: dict[str, list[Path]] = {}
        for version in versions:
            files.setdefault(version.request.name, []).append(Path(version.request.path))
        for name, paths in files.items():
            known = self._find(name)
            if known is None or DEMO_TAG in known.tags or any(_holds(known, path) for path in paths):
                continue
            raise ConflictError(
                f"Another model is called {name} here, which is the name of a demo model; nothing was added.",
                hint="Choose another folder with --home.",
                code="name.taken",
            )

    def _install_one(self, version: DemoVersion, tally: _Tally, cancel: CancelToken) -> None:
        request = version.request
        known = self._find(request.name)
        if known is not None and (DEMO_TAG not in known.tags or _holds(known, Path(request.path))):
            return
        try:
            result = self._catalog.add(request, cancel=cancel)
            if not result.existed:
                tally.added += 1
                if version.notes:
                    self._catalog.update(f"{request.name}@{result.version.version}", MetadataPatch(notes=version.notes))
        except (CancelledError, StoreError):
            raise
        except QuickServeError as error:  # one network that cannot be used must not end the demo
            tally.failed.append(f"{request.name} ({safe_text(error.message, 120)})")

    def _find(self, name: str) -> ModelRecord | None:
        try:
            return self._catalog.show(name).model
        except NotFoundError:
            return None


def _progress(done: int, total: int, tally: _Tally, note: str) -> Progress:
    return Progress("demo", done, total, unit="models", failed=len(tally.failed), note=note)


def _holds(model: ModelRecord, path: Path) -> bool:
    """Whether the file is one of the model's versions: told by its digest, so that nothing need be copied or run."""
    digest = _file_digest(path)
    return bool(digest) and any(_digest_of(version) == digest for version in model.versions)


def _digest_of(version: VersionRecord) -> str:
    return version.artifact.files[0].digest if version.artifact.files else ""


def _file_digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
