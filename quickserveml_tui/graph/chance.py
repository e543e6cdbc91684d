"""Whether the outputs of a model depend on its inputs only."""

from __future__ import annotations

from pathlib import Path

from quickserveml_tui.graph.reading import bodies, read_model, text

_STANDARD = frozenset({"", "ai.onnx", "ai.onnx.ml"})
_DRAWS = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)
_SOMETIMES = frozenset({"Dropout"})
"""Draw in training mode, which an input may switch on."""


def depends_on_inputs_only(path: Path) -> bool:
    """Whether no operator draws random numbers, in subgraphs and functions too.

    Operators beyond the standard count as drawing, but for the functions of the model itself. Raises `ModelError`.
    """
    model = read_model(path)
    own = {(text(function.domain), text(function.name)) for function in model.functions}
    for body in bodies(model):
        for node in body.nodes:
            domain, op = text(node.domain), text(node.op_type)
            if (domain, op) in own:
                continue
            if domain not in _STANDARD or op in _DRAWS:
                return False
            if op in _SOMETIMES and len(node.input) > 2 and node.input[2]:
                return False
    return True
