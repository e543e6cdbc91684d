"""Typed errors for what the runtime refuses: each pattern names its cause and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from quickserveml_tui.core.errors import (
    CancelledError,
    DataError,
    ModelError,
    ModelUnrunnableError,
    QuickServeError,
    RunnerError,
)
from quickserveml_tui.core.text import safe_lines, safe_text
from quickserveml_tui.runtime.ort_text import failed_node, innermost, one_sentence, strip_paths

MAX_DETAIL = 8_000


@dataclass(frozen=True, slots=True)
class _Cause:
    """One family of error texts."""

    pattern: re.Pattern[str]
    error: type[QuickServeError]
    code: str
    message: Callable[[re.Match[str], str], str]
    """Sentence made of the match and the runtime's name."""
    hint: str


def _cause(
    pattern: str, error: type[QuickServeError], code: str, message: str | Callable[[re.Match[str], str], str], hint: str
) -> _Cause:
    sentence = message if callable(message) else lambda _match, _runtime: message
    return _Cause(re.compile(pattern, re.DOTALL), error, code, sentence, hint)


def _domain(name: str) -> str:
    return "" if name in ("", "ai.onnx") else f" of domain {safe_text(name, 80)}"


def _unknown_op(match: re.Match[str], runtime: str) -> str:
    domain = match["domain"]
    name = safe_text(f"{domain}:{match['op']}" if domain else match["op"], 120)
    return f"The operator {name} is unknown to {runtime}."


_REPAIR = "Export or download the model again, with its data files beside it."
_OP_HINT = "Export the model with standard operators, or with an opset that has this one."

MEMORY_PATTERN = re.compile(
    r"bad_alloc|bad allocation|Failed to allocate memory|Unable to allocate|BFCArena|MemoryError|Cannot allocate memory"
)

_LOAD_CAUSES = (
    _cause(
        r"Opset (\d+) is under development.*support for domain (\S+) is till opset (\d+)",
        ModelUnrunnableError,
        "model.opset_too_new",
        lambda match, runtime: f"Opset {match[1]}{_domain(match[2])} is newer than {runtime} takes ({match[3]}).",
        "Export the model with a lower opset, or upgrade onnxruntime.",
    ),
    _cause(
        r"Unsupported model IR version: (\d+), max supported IR version: (\d+)",
        ModelUnrunnableError,
        "model.ir_too_new",
        lambda match, runtime: f"IR version {match[1]} is newer than {runtime} takes ({match[2]}).",
        "Save the model with a lower IR version, or upgrade onnxruntime.",
    ),
    _cause(
        r'In Node, \("[^"]*", (?P<op>[^,]+), "(?P<domain>[^"]*)".*No Op registered for',
        ModelUnrunnableError,
        "model.unknown_operator",
        _unknown_op,
        _OP_HINT,
    ),
    _cause(
        r"(?:error: )(?P<domain>[^:\s]*):?(?P<op>[^\s:(]+)\(-?\d+\) is not a registered function/op",
        ModelUnrunnableError,
        "model.unknown_operator",
        _unknown_op,
        "This operator belongs to an extension that is not part of onnxruntime; export without it.",
    ),
    _cause(
        r"Could not find an implementation for ([^\s(]+)\((\d+)\)",
        ModelUnrunnableError,
        "model.unimplemented_operator",
        lambda match, runtime: (
            f"{runtime} has no implementation of {safe_text(match[1], 80)} (opset {match[2]}) for its data types."
        ),
        "Convert the model to a newer opset, or its data to float32.",
    ),
    _cause(
        r"Failed to construct locale with name:([^:\s]+)",
        ModelUnrunnableError,
        "model.locale_missing",
        lambda match, _runtime: f"The model needs the locale {safe_text(match[1], 40)}, which this machine lacks.",
        "Install the locale, or export the text vectoriser with the locale C.",
    ),
    _cause(
        r"[Ee]xternal data path escapes",
        ModelError,
        "model.external_escape",
        "The model refers to data outside its own folder.",
        "Keep the data files beside the model; this one is not safe to open.",
    ),
    _cause(
        r"External data path does not exist",
        ModelError,
        "model.external_missing",
        "A data file of the model is missing.",
        _REPAIR,
    ),
    _cause(
        r"External initializer: .* are out of bounds",
        ModelError,
        "model.external_range",
        "A data file of the model is shorter than the model says.",
        _REPAIR,
    ),
    _cause(
        r"INVALID_PROTOBUF",
        ModelError,
        "model.unreadable",
        "The file is not a readable ONNX model.",
        _REPAIR,
    ),
    _cause(
        r"No graph was found in the protobuf",
        ModelError,
        "model.unreadable",
        "The file holds no graph: it is empty or not an ONNX model.",
        _REPAIR,
    ),
    _cause(
        MEMORY_PATTERN.pattern,
        RunnerError,
        "runtime.out_of_memory",
        "The model needs more memory to load than it may use.",
        "Free memory, or use a smaller or quantised model.",
    ),
)

_RUN_CAUSES = (
    _cause(
        r"terminate flag",
        CancelledError,
        "cancelled",
        "Cancelled.",
        "What was finished before is kept.",
    ),
    _cause(
        MEMORY_PATTERN.pattern,
        RunnerError,
        "runtime.out_of_memory",
        "The inference needs more memory than it may use.",
        "Use a smaller batch or smaller inputs.",
    ),
    _cause(
        r"Got invalid dimensions for input: (.+?) for the following indices\s+index: (\d+) Got: (\d+) Expected: (\d+)",
        DataError,
        "data.shape",
        lambda match, _runtime: (
            f"Input “{safe_text(match[1], 80)}” has size {match[3]} in dimension {match[2]}, expected {match[4]}."
        ),
        "Give the input the shape that `quickserveml schema` shows.",
    ),
    _cause(
        r"Invalid rank for input: (.+?) Got: (\d+) Expected: (\d+)",
        DataError,
        "data.shape",
        lambda match, _runtime: f"Input “{safe_text(match[1], 80)}” has {match[2]} dimensions, expected {match[3]}.",
        "Give the input the shape that `quickserveml schema` shows.",
    ),
    _cause(
        r"Unexpected input data type\. Actual: \(tensor\((\w+)\)\) , expected: \(tensor\((\w+)\)\)",
        DataError,
        "data.dtype",
        lambda match, _runtime: f"An input has the type {match[1]}, expected {match[2]}.",
        "Convert the input to the type that `quickserveml schema` shows.",
    ),
    _cause(
        r"Required inputs \((.*?)\) are missing",
        DataError,
        "data.missing_input",
        lambda match, _runtime: f"Inputs are missing: {safe_text(match[1].strip('[]'), 200)}.",
        "Give every input that `quickserveml schema` shows.",
    ),
    _cause(
        r"Invalid output name:\s*(.+)",
        DataError,
        "data.unknown_output",
        lambda match, _runtime: f"The model has no output “{safe_text(match[1], 80)}”.",
        "Ask for outputs that `quickserveml schema` shows.",
    ),
)


def _translate(causes: tuple[_Cause, ...], text: str, runtime: str, path: Path | None) -> QuickServeError | None:
    for cause in causes:
        match = cause.pattern.search(text)
        if match:
            detail = raw_detail(text, path)
            return cause.error(cause.message(match, runtime), hint=cause.hint, code=cause.code, detail=detail)
    return None


def raw_detail(text: str, path: Path | None = None) -> str:
    """The runtime's own words: printable, bounded, without the model's folder."""
    return safe_lines(strip_paths(text, path), MAX_DETAIL)


def load_error(error: BaseException, path: Path | None, runtime: str) -> QuickServeError:
    """The error to raise for what the runtime said while it loaded `path`.

    `ModelError` when the file cannot be read or is unsafe, `ModelUnrunnableError` when it reads but does not load.
    """
    text = f"{type(error).__name__}: {error}" if isinstance(error, MemoryError) else str(error)
    known = _translate(_LOAD_CAUSES, text, runtime, path)
    return known or ModelUnrunnableError(
        one_sentence(text, path),
        hint="Open its details for the runtime's own words; check the model where it was exported.",
        code="model.load_failed",
        detail=raw_detail(text, path),
    )


def run_error(error: BaseException, path: Path | None, runtime: str) -> QuickServeError:
    """The error to raise for what the runtime said while it ran the model at `path`."""
    text = f"{type(error).__name__}: {error}" if isinstance(error, MemoryError) else str(error)
    known = _translate(_RUN_CAUSES, text, runtime, path)
    return known or DataError(
        f"The model failed on these inputs: {failed_node(text)}{one_sentence(innermost(text), path)}",
        hint="Check the shapes and values of the inputs.",
        code="data.run_failed",
        detail=raw_detail(text, path),
    )
