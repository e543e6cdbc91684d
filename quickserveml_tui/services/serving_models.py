"""A model that is loaded for serving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from quickserveml_tui.core.errors import ModelUnrunnableError
from quickserveml_tui.core.serving import ServedEntry
from quickserveml_tui.runtime.session import Session
from quickserveml_tui.runtime.settings import SessionSettings
from quickserveml_tui.services.serving_stats import ModelStats
from quickserveml_tui.services.serving_traits import Traits, measure_traits
from quickserveml_tui.wire.datatypes import TensorType, tensor_type
from quickserveml_tui.wire.json_tensors import Array
from quickserveml_tui.wire.oip_request import RequestDecoder
from quickserveml_tui.wire.oip_response import ResponseEncoder
from quickserveml_tui.wire.predict import PredictDecoder


def _open(entry: ServedEntry) -> Session:
    settings = SessionSettings(intra_op_threads=entry.settings.intra_op_threads)
    if entry.settings.isolate:
        from quickserveml_tui.runtime.isolated import IsolatedSession

        return IsolatedSession(Path(entry.path), settings)
    return Session(Path(entry.path), settings)


class ServedModel:
    """One version of a model with its session, codecs and counters.

    Loading runs the model a few times. Raises `ModelError` when the file cannot be used, `ModelUnrunnableError`
    (`model.not_servable`) for inputs that no request can carry.
    """

    def __init__(self, entry: ServedEntry, stats: ModelStats) -> None:
        self.entry = entry
        """What it is; replaced when no more than aliases and descriptions have changed."""
        self.name, self.version, self.digest = entry.name, entry.version, entry.digest
        self.session = _open(entry)
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
        self.stats = stats
        self.cacheable = False
        """Whether equal requests get equal answers; False where nobody has looked."""
        self.traits = self._chosen(measure_traits(self.run, self.inputs, self.outputs))

    def _chosen(self, found: Traits) -> Traits:
        """The traits as the settings want them; a model in a process of its own never holds up the event loop."""
        settings = self.entry.settings
        most = settings.max_batch
        if most and found.batchable:
            found = replace(
                found, batchable=most > 1, max_batch=most, reason=found.reason if most > 1 else "settings forbid it"
            )
        return replace(found, inline=False) if settings.isolate else found

    def close(self) -> None:
        """Let go of the process that it runs in, where it has one of its own."""
        self.session.close()

    @property
    def selectors(self) -> frozenset[str]:
        """What may stand for this version in a path: its number, its label, its aliases."""
        names = {self.version, *self.entry.aliases}
        if self.entry.label:
            names.add(self.entry.label)
        return frozenset(names)

    def splits(self, names: Sequence[str]) -> bool:
        """Whether these outputs of a shared run can be cut into rows: tensors can, sequences and maps cannot."""
        return self._all_tensors or self._tensor_names.issuperset(names)

    def run(self, feeds: Mapping[str, Array], names: Sequence[str]) -> list[Any]:
        """Outputs in the order of `names`. Raises `QuickServeError`."""
        outputs = self.session.run(feeds, names)
        return [outputs[name] for name in names]
