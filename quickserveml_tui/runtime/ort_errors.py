"""Typed errors for what the runtime refuses: one sentence and a hint each, with the runtime's own words as detail."""

from __future__ import annotations

from pathlib import Path

from quickserveml_tui.core.errors import DataError, ModelUnrunnableError, QuickServeError
from quickserveml_tui.core.text import safe_lines
from quickserveml_tui.runtime.ort_causes import Cause
from quickserveml_tui.runtime.ort_graph_causes import GRAPH_CAUSES, NODE_CAUSES, OPERATOR_CAUSES, STAGE_CAUSES
from quickserveml_tui.runtime.ort_load_causes import (
    EXTERNAL_CAUSES,
    FORMAT_CAUSES,
    MEMORY_CAUSES,
    TENSOR_CAUSES,
)
from quickserveml_tui.runtime.ort_run_causes import INPUT_CAUSES, RUN_CAUSES
from quickserveml_tui.runtime.ort_text import (
    MAX_SENTENCE,
    as_sentence,
    is_output_text,
    message_of,
    one_sentence,
    plain_words,
    read_text,
    strip_paths,
)

MAX_DETAIL = 8_000

LOAD_CAUSES: tuple[Cause, ...] = (
    *FORMAT_CAUSES,
    *EXTERNAL_CAUSES,
    *OPERATOR_CAUSES,
    *NODE_CAUSES,
    *TENSOR_CAUSES,
    *GRAPH_CAUSES,
    *MEMORY_CAUSES,
    *STAGE_CAUSES,
)
"""What loading refuses; the first that matches counts."""
ALL_RUN_CAUSES: tuple[Cause, ...] = (*INPUT_CAUSES, *RUN_CAUSES)
"""What running refuses; the first that matches counts."""


def _translate(causes: tuple[Cause, ...], text: str, runtime: str, path: Path | None) -> QuickServeError | None:
    said = read_text(strip_paths(text[:MAX_DETAIL], path))
    for known in causes:
        match = known.match(said)
        if match:
            sentence = as_sentence(plain_words(known.message(match, said, runtime)))
            return known.error(sentence, hint=known.hint, code=known.code, detail=raw_detail(text, path))
    return None


def raw_detail(text: str, path: Path | None = None) -> str:
    """The runtime's own words: printable, bounded, without the model's folder."""
    return safe_lines(strip_paths(text[: 4 * MAX_DETAIL], path), MAX_DETAIL)


def load_error(error: BaseException, path: Path | None, runtime: str) -> QuickServeError:
    """The error to raise for what the runtime said while it loaded `path`.

    `ModelError` when the file cannot be read or is unsafe, `ModelUnrunnableError` when it reads but does not load.
    """
    text = message_of(error)
    return _translate(LOAD_CAUSES, text, runtime, path) or ModelUnrunnableError(
        one_sentence(text, path),
        hint="Open its details for the runtime's own words; check the model where it was exported.",
        code="model.load_failed",
        detail=raw_detail(text, path),
    )


def run_error(error: BaseException, path: Path | None, runtime: str) -> QuickServeError:
    """The error to raise for what the runtime said while it ran the model at `path`."""
    text = message_of(error)
    if is_output_text(error):
        return ModelUnrunnableError(
            "A string in the model's outputs is not valid UTF-8.",
            hint="Export the model so that its strings are UTF-8.",
            code="model.output_text",
            detail=raw_detail(text, path),
        )
    known = _translate(ALL_RUN_CAUSES, text, runtime, path)
    words = plain_words(read_text(text).why, path, MAX_SENTENCE - 40) or "the runtime gave no reason"
    return known or DataError(
        as_sentence(f"The model failed on these inputs: {words}"),
        hint="Check the shapes and values of the inputs.",
        code="data.run_failed",
        detail=raw_detail(text, path),
    )
