"""A model that is loaded for serving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quickserveml_tui.core.catalog import Resolved
from quickserveml_tui.core.errors import ModelUnrunnableError
from quickserveml_tui.core.refs import name_from_path
from quickserveml_tui.runtime.session import Session
from quickserveml_tui.runtime.settings import SessionSettings
from quickserveml_tui.services.serving_stats import ModelStats
from quickserveml_tui.services.serving_traits import measure_traits
from quickserveml_tui.wire.datatypes import TensorType, tensor_type
from quickserveml_tui.wire.json_tensors import Array
from quickserveml_tui.wire.oip_request import RequestDecoder
from quickserveml_tui.wire.oip_response import ResponseEncoder
from quickserveml_tui.wire.predict import PredictDecoder


def served_name(resolved: Resolved) -> str:
    """The name under which a model is served: its registered name, or one made from the file name."""
    return resolved.model.name if resolved.model is not None else name_from_path(Path(resolved.path))


def served_version(resolved: Resolved) -> str:
    """The version as the protocol writes it, a numeric string; files that are not registered are version 1."""
    return str(resolved.version.version) if resolved.version is not None else "1"


class ServedModel:
    """One version of a model with its session, codecs and counters.

    Loading runs the model a few times. Raises `ModelError` when the file cannot be used, `ModelUnrunnableError`
    (`model.not_servable`) for inputs that no request can carry.
    """

    def __init__(self, resolved: Resolved, settings: SessionSettings) -> None:
        self.name = served_name(resolved)
        self.version = served_version(resolved)
        self.resolved = resolved
        self.digest = resolved.digest  # found out now, not when the first scrape asks for it
        self.session = Session(Path(resolved.path), settings)
        inputs = [tensor_type(spec) for spec in self.session.inputs]
        self.inputs: tuple[TensorType, ...] = tuple(kind for kind in inputs if kind is not None)
        if len(self.inputs) != len(inputs):
            raise ModelUnrunnableError(
                "An input of the model is no tensor that a request can carry.",
                hint="Export the model with plain tensors as inputs.",
                code="model.not_servable",
            )
        if not self.session.outputs:
            raise ModelUnrunnableError(
                "The model has no outputs.", hint="Export it with at least one output.", code="model.no_outputs"
            )
        found = (tensor_type(spec) for spec in self.session.outputs)
        self.outputs: tuple[TensorType, ...] = tuple(kind for kind in found if kind is not None)
        """Outputs that the protocol can carry; sequences and maps go out by the short form only."""
        self.output_names = tuple(spec.name for spec in self.session.outputs)
        self._tensor_names = frozenset(kind.name for kind in self.outputs)
        self._all_tensors = len(self.outputs) == len(self.output_names)
        self.uniform = all(-1 not in (kind.shape or (-1, -1))[1:] for kind in self.inputs)
        """Whether the rows of all requests have one shape."""
        self.decoder = RequestDecoder(self.inputs, self.outputs)
        self.encoder = ResponseEncoder(self.name, self.version, self.outputs)
        self.predict_decoder = PredictDecoder(self.inputs, self.output_names)
        self.stats = ModelStats()
        self.traits = measure_traits(self.run, self.inputs, self.outputs)

    @property
    def selectors(self) -> frozenset[str]:
        """What may stand for this version in a path: its number, its label, its aliases."""
        names = {self.version}
        if self.resolved.version is not None and self.resolved.version.label:
            names.add(self.resolved.version.label)
        if self.resolved.model is not None and self.resolved.version is not None:
            names.update(self.resolved.model.aliases_of(self.resolved.version.version))
        return frozenset(names)

    def splits(self, names: Sequence[str]) -> bool:
        """Whether these outputs of a shared run can be cut into rows: tensors can, sequences and maps cannot."""
        return self._all_tensors or self._tensor_names.issuperset(names)

    def run(self, feeds: Mapping[str, Array], names: Sequence[str]) -> list[Any]:
        """Outputs in the order of `names`. Raises `QuickServeError`."""
        outputs = self.session.run(feeds, names)
        return [outputs[name] for name in names]
