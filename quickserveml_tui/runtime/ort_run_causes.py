"""Why an inference fails: inputs that do not fit, and nodes that refuse the values they get."""

from __future__ import annotations

from quickserveml_tui.core.errors import CancelledError, DataError, ModelError, RunnerError
from quickserveml_tui.core.text import plural
from quickserveml_tui.runtime.ort_causes import SCHEMA, Cause, cause, dtype, element, name, reason
from quickserveml_tui.runtime.ort_load_causes import MEMORY
from quickserveml_tui.runtime.ort_text import Said

_SHAPE_HINT = "Give the input the shape that `quickserveml schema` shows."
_TRY_SHAPES = "Check the shapes of the inputs; --dim, --shape and --batch choose those of synthetic ones."
_TRY_VALUES = "Check the values of the inputs; --range INPUT=LOW:HIGH bounds those of synthetic ones."


def _at(said: Said) -> str:
    return said.where or "The model"


INPUT_CAUSES: tuple[Cause, ...] = (
    cause(
        r"terminate flag|Exiting due to terminate",
        "cancelled",
        "Cancelled.",
        "What was finished before is kept.",
        error=CancelledError,
    ),
    cause(
        MEMORY,
        "runtime.out_of_memory",
        "The inference needs more memory than it may use.",
        "Use a smaller batch or smaller inputs.",
        error=RunnerError,
    ),
    cause(
        r"Got invalid dimensions for (?:input|output): (.+?) for the following indices\s+"
        r"index: (\d+) Got: (\d+) Expected: (\d+)",
        "data.shape",
        lambda match, _said, _runtime: (
            f"Input “{name(match[1])}” has size {match[3]} in dimension {match[2]}, expected {match[4]}."
        ),
        _SHAPE_HINT,
        error=DataError,
    ),
    cause(
        r"Invalid rank for (?:input|output): (.+?) Got: (\d+) Expected: (\d+)",
        "data.shape",
        lambda match, _said, _runtime: (
            f"Input “{name(match[1])}” has {plural(int(match[2]), 'dimension')}, expected {match[3]}."
        ),
        _SHAPE_HINT,
        error=DataError,
    ),
    cause(
        r"Unexpected input data type\. Actual: \((.+?)\) ?, expected: \((.+?)\)(?:\s|$)",
        "data.dtype",
        lambda match, _said, _runtime: f"An input has the type {dtype(match[1])}, expected {dtype(match[2])}.",
        "Convert the input to the type that `quickserveml schema` shows.",
        error=DataError,
    ),
    cause(
        r"Input(?: with)? name:? ?'?(?P<name>.*?)'? (?:is )?expected to (?:be of type|have)"
        r"(?: \w+)?:? (?P<expected>\S+)(?: but (?:received|got) (?P<found>.*))?",
        "data.dtype",
        lambda match, _said, _runtime: (
            f"Input “{name(match['name'])}” has the wrong type, expected {dtype(match['expected'])}."
        ),
        "Convert the input to the type that `quickserveml schema` shows.",
        error=DataError,
    ),
    cause(
        r"Required inputs \((.*?)\) are missing",
        "data.missing_input",
        lambda match, _said, _runtime: f"Inputs are missing: {_listed(match[1])}.",
        "Give every input that `quickserveml schema` shows.",
        error=DataError,
    ),
    cause(
        r"Missing Input: ?(.+)",
        "data.missing_input",
        lambda match, _said, _runtime: f"Inputs are missing: {_listed(match[1])}.",
        "Give every input that `quickserveml schema` shows.",
        error=DataError,
    ),
    cause(
        r"Invalid (?:input name|Feed Input Name): ?(.+)",
        "data.unknown_input",
        lambda match, _said, _runtime: f"The model has no input “{name(match[1])}”.",
        "Give the inputs that `quickserveml schema` shows, and no others.",
        error=DataError,
    ),
    cause(
        r"Invalid [Oo]utput [Nn]ame:\s*(.+)",
        "data.unknown_output",
        lambda match, _said, _runtime: f"The model has no output “{name(match[1])}”.",
        "Ask for outputs that `quickserveml schema` shows.",
        error=DataError,
    ),
    cause(
        r"At least one output should be requested",
        "model.no_outputs",
        "The model has no outputs.",
        "Export it with at least one output.",
        error=ModelError,
    ),
    cause(
        r"Numpy_type \d+ can't be converted|element type in the input tensor is not supported",
        "model.dtype_unsupported",
        "An input has a type that cannot be passed to the runtime from Python.",
        "Export the model with float32, float16 or int8 inputs and outputs.",
        error=ModelError,
    ),
    cause(
        r"No corresponding Numpy type for Tensor Type\. ?(?P<type>\S+)",
        "model.dtype_unsupported",
        lambda match, _said, _runtime: (
            f"An output has the type {element(match['type'])}, which cannot be passed to Python."
        ),
        "Export the model with float32, float16 or int8 inputs and outputs.",
        error=ModelError,
    ),
    cause(
        r"Unable to handle object of type|Input must be a list of dictionaries|must be a (?:list|dict)|"
        r"Tensor sequence must contain only|was expected to have either tensor|different type from others|"
        r"not of (?:one of the supported )?sequence|expected to (?:have|be a) (?:sequence|optional)|"
        r"source (?:sequence|optional) type",
        "data.kind",
        "An input is of another kind than the model takes: a tensor, a sequence, a map or an optional.",
        SCHEMA,
        error=DataError,
    ),
)

RUN_CAUSES: tuple[Cause, ...] = (
    cause(
        r"",
        "data.unimplemented",
        lambda _match, said, runtime: f"{runtime} cannot run {said.where or 'a node'} on such inputs: {reason(said)}.",
        "Give inputs of other shapes or types, or convert the model to a newer opset.",
        error=DataError,
        status="NOT_IMPLEMENTED",
    ),
    cause(
        r"broadcast an axis by a dimension other than 1\. (\d+) by (\d+)",
        "data.shapes_differ",
        lambda match, said, _runtime: (
            f"{_at(said)} cannot combine its inputs: a dimension of size {match[1]} meets one of size {match[2]}."
        ),
        _TRY_SHAPES,
        error=DataError,
        stages="run",
    ),
    cause(
        r"Can broadcast 0 by 0 or 1\. (\d+) is invalid",
        "data.shapes_differ",
        lambda match, said, _runtime: (
            f"{_at(said)} cannot combine its inputs: a dimension of size {match[1]} meets an empty one."
        ),
        _TRY_SHAPES,
        error=DataError,
        stages="run",
    ),
    cause(
        r"idx=(-?\d+) must be within the inclusive range \[(-?\d+),(-?\d+)\]",
        "data.index",
        lambda match, said, _runtime: f"{_at(said)} got the index {match[1]}, expected {match[2]} to {match[3]}.",
        _TRY_VALUES,
        error=DataError,
        stages="run",
    ),
    cause(
        r"reshaped to the requested shape\. Input shape:\{([^}]*)\}, requested shape:\{([^}]*)\}",
        "data.shapes_differ",
        lambda match, said, _runtime: (
            f"{_at(said)} cannot give a tensor of the shape {_sizes(match[1])} the shape {_sizes(match[2])}."
        ),
        _TRY_SHAPES,
        error=DataError,
        stages="run",
    ),
    cause(
        r"division by zero|modulo by zero|b_data\[i\] != T\{0\}",
        "data.division_by_zero",
        lambda _match, said, _runtime: f"{_at(said)} divides an integer by zero.",
        _TRY_VALUES,
        error=DataError,
    ),
    cause(
        r"^(?:sto[dflixu]+)$|Conversion .{0,80}failed|invalid literal|cannot be (?:cast|parsed)",
        "data.not_a_number",
        lambda _match, said, _runtime: f"{_at(said)} got a text that is no number.",
        _TRY_VALUES,
        error=DataError,
        stages="run",
    ),
    cause(
        r"invalid unordered_map|unordered_map key|_Map_base::at|map::at|key .{0,60}not found",
        "data.unknown_key",
        lambda _match, said, _runtime: f"{_at(said)} got a key or value that the model does not know.",
        _TRY_VALUES,
        error=DataError,
    ),
    cause(
        r"out of (?:data )?(?:bounds|range)|[Oo]ut of range|[Ii]nvalid (?:sequence )?(?:index|indice)|inclusive range|"
        r"index is out|indices? .{0,40}(?:must be|should be) (?:in|within)|not in valid range|outside of the tensor",
        "data.index",
        lambda _match, said, _runtime: f"{_at(said)} got an index out of range: {reason(said)}.",
        _TRY_VALUES,
        error=DataError,
        stages="run",
    ),
    cause(
        r"[Dd]im|[Rr]ank|[Ss]hape|size|\b[1-5]-?D\b|broadcast|number of elements|[Nn]umber of|length|inconsistent|"
        r"empty|batch|channel|pads|square",
        "data.shapes_differ",
        lambda _match, said, _runtime: f"{_at(said)} cannot take the shapes it got: {reason(said)}.",
        _TRY_SHAPES,
        error=DataError,
        stages="run",
    ),
    cause(
        r".",
        "data.node_failed",
        lambda _match, said, _runtime: f"{_at(said)} failed on these inputs: {reason(said)}.",
        "Check the shapes and values of the inputs.",
        error=DataError,
        stages="run",
    ),
    cause(
        r"",
        "data.node_failed",
        lambda _match, said, _runtime: f"{_at(said)} failed on these inputs, and the runtime gave no reason.",
        "Check the shapes and values of the inputs.",
        error=DataError,
        stages="run",
    ),
)


def _sizes(value: str) -> str:
    return "x".join(part.strip() for part in value[:80].split(",")) or "()"


def _listed(names: str) -> str:
    """The names of a Python list as text: `“a”, “b”, …`."""
    parts = [part.strip().strip("'\"") for part in names[:2_000].strip().strip("[]").split(", ")]
    return ", ".join(f"“{name(part)}”" for part in parts[:4]) + (", …" if len(parts) > 4 else "")
