"""Metadata of served models, and inputs that fit it: given ones, and made-up ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.runtime.feeds import synthesize
from quickserveml_tui.runtime.inputs import fit_inputs, load_inputs
from quickserveml_tui.wire.datatypes import DATATYPE_BY_ONNX, TensorType, numpy_dtype
from quickserveml_tui.wire.json_tensors import Array

MAX_TENSORS = 10_000
_ONNX_BY_DATATYPE = {datatype: onnx for onnx, datatype in DATATYPE_BY_ONNX.items()}
_MAX_NAME = 10_000


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """A model as a server describes it."""

    name: str
    versions: tuple[str, ...]
    inputs: tuple[TensorType, ...]

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """The inputs as specs; an empty shape may be a scalar's or an unknown one and forbids nothing."""
        return tuple(
            TensorSpec(
                kind.name,
                _ONNX_BY_DATATYPE[kind.datatype],
                tuple(None if dim < 0 else dim for dim in kind.shape or ()),
            )
            for kind in self.inputs
        )

    def made_up(self, feed: FeedSpec) -> dict[str, Array]:
        """Inputs made by `feed`. Raises `UsageError` and `DataError`."""
        # A shape that is asked for says the rank of an input whose own shape does not.
        specs = tuple(
            replace(spec, shape=None) if not spec.shape and spec.name in feed.shapes else spec for spec in self.specs
        )
        return cast("dict[str, Array]", synthesize(specs, feed))

    def from_file(self, path: Path) -> dict[str, Array]:
        """Inputs from an NPZ or JSON file. Raises `DataError`."""
        return cast("dict[str, Array]", load_inputs(path, self.specs))

    def fitted(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """Values by name as arrays of the inputs' types, ready to be sent. Raises `DataError`."""
        fitted = cast("dict[str, Array]", fit_inputs(values, self.specs))
        return {kind.name: np.ascontiguousarray(fitted[kind.name]).astype(kind.dtype, copy=False).reshape(
            fitted[kind.name].shape
        ) for kind in self.inputs}  # fmt: skip


def read_metadata(document: Any) -> ModelMetadata:
    """What a metadata document says.

    Raises `ValueError` for a document of another kind, `DataError` for types that cannot be sent.
    """
    name = document.get("name") if isinstance(document, dict) else None
    inputs, versions = (document.get("inputs"), document.get("versions") or []) if name else (None, [])
    if (
        not isinstance(name, str)
        or not isinstance(inputs, list)
        or len(inputs) > MAX_TENSORS
        or not isinstance(versions, list)
    ):
        raise ValueError("no inputs")
    return ModelMetadata(
        safe_text(name, 200),
        tuple(safe_text(version, 80) for version in versions[:MAX_TENSORS]),
        tuple(map(_tensor, inputs)),
    )


def _tensor(item: Any) -> TensorType:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str) or len(item["name"]) > _MAX_NAME:
        raise ValueError("an input without a name")
    datatype, shape = item.get("datatype"), item.get("shape")
    if not isinstance(shape, list) or not all(type(dim) is int and -1 <= dim < 2**40 for dim in shape):
        raise ValueError("an input without a shape")
    if not isinstance(datatype, str) or datatype not in _ONNX_BY_DATATYPE:
        raise DataError(
            f"Input “{safe_text(item['name'], 60)}” has the type {safe_text(datatype, 40)}, which is not known here.",
            hint="Only the types of the Open Inference Protocol can be sent.",
            code="data.dtype",
        )
    return TensorType(item["name"], datatype, numpy_dtype(datatype), tuple(shape))
