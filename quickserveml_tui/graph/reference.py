"""The onnx package's own evaluator, for models that the runtime cannot run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
import onnx.reference

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.values import Value
from quickserveml_tui.graph.external import external_files
from quickserveml_tui.graph.reading import read_model, text

NAME = f"onnx {onnx.__version__} reference"


def evaluate(path: Path, inputs: Mapping[str, Value]) -> dict[str, Value]:
    """Outputs by name of the model at `path` for values by input name; slow, since it is written in Python.

    Raises `ModelError`: as `read_model` and `external_files` do, and `reference.failed` for what the evaluator cannot
    run.
    """
    read_model(path)
    external_files(path)  # before onnx follows any reference
    try:
        model = onnx.load(path)
        values = onnx.reference.ReferenceEvaluator(model).run(None, dict(inputs))
    except MemoryError:
        raise
    except Exception as error:  # one Python function per operator: any of them may raise anything
        raise ModelError(
            f"The evaluator of onnx {onnx.__version__} cannot run the model: {safe_text(error, 200).strip(' .')}.",
            hint="It lacks some operators, and older forms of others.",
            code="reference.failed",
            detail=safe_text(f"{type(error).__name__}: {error}", 2_000),
        ) from error
    return {text(output.name): value for output, value in zip(model.graph.output, values, strict=True)}
