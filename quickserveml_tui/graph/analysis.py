"""One pass over a model file: everything that facts and layers are made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quickserveml_tui.graph import shapes
from quickserveml_tui.graph.external import external_sizes
from quickserveml_tui.graph.reading import ModelProto, read_model, tensors
from quickserveml_tui.graph.scopes import Scope, build_scopes
from quickserveml_tui.graph.structure import Expansion, check_structure, measure_expansion
from quickserveml_tui.graph.tensors import check_tensor


@dataclass(frozen=True, slots=True)
class Reading:
    """A model file whose structure, tensors and external data were found sound."""

    model: ModelProto
    main: Scope
    functions: tuple[Scope, ...]
    expansion: Expansion
    external_bytes: int


def read_sound_model(path: Path) -> Reading:
    """Read and check a model file. Raises `ModelError` for anything that makes it useless; linear in its size."""
    model = read_model(path)
    check_structure(model)
    expansion = measure_expansion(model)
    for tensor in tensors(model):
        check_tensor(tensor)
    external_bytes = sum(external_sizes(model, path).values())
    main, functions = build_scopes(model)
    return Reading(model, main, functions, expansion, external_bytes)


@dataclass(frozen=True, slots=True)
class Inferred:
    """Scopes with types, node for node as in the file."""

    symbolic: Scope
    """Open dims by their names."""
    fixed: Scope
    """Open dims of the inputs set to 1."""


def infer_scopes(skeleton: ModelProto) -> Inferred:
    """Infer the types of all values of a skeleton, twice."""
    symbolic, _ = build_scopes(shapes.infer(skeleton))
    fixed, _ = build_scopes(shapes.infer(shapes.fix_batch(skeleton)))
    return Inferred(symbolic, fixed)
