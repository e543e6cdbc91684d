"""Why a model file does not load: its format, its stored tensors, its data files, the limits of the machine."""

from __future__ import annotations

from quickserveml_tui.core.errors import ModelError, RunnerError
from quickserveml_tui.runtime.ort_causes import (
    EXPORT_AGAIN,
    REPAIR,
    Cause,
    cause,
    domain_of,
    dtype,
    name,
    reason,
    shape,
)

MEMORY = (
    r"bad_alloc|bad allocation|Failed to allocate memory|Unable to allocate|BFCArena|MemoryError|"
    r"Cannot allocate memory|Available memory of \d+ is smaller than requested"
)
_DAMAGED = "The file is damaged or was written wrongly; export it again."

EXTERNAL_CAUSES: tuple[Cause, ...] = (
    cause(
        r"escapes (?:both )?(?:model|working) directory|[Ee]xternal data path escapes|Absolute path not allowed|"
        r"external data resolves outside|data path is outside|must be a relative path",
        "model.external_escape",
        "The model refers to data outside its own folder.",
        "Keep the data files beside the model; this one is not safe to open.",
        error=ModelError,
    ),
    cause(
        r"[Ii]n-memory external data|ORT in-memory address marker|not a valid file path|Empty external data path|"
        r"path could not be canonicalized|External data type cannot be|model format error!|Failed to parse value:|"
        r"Failed to parse \"?(?:offset|length)|Expected to have external data",
        "model.external_invalid",
        "The model says in a way that cannot be read where a stored tensor's data lies.",
        EXPORT_AGAIN,
        error=ModelError,
    ),
    cause(
        r"External data path does not exist|it doesn't exist or is not accessible|"
        r"(?:open|file) .{0,400}(?:No such file|error number 2|errcode = 2|doesn't exist)|"
        r"External data .{0,400}(?:not found|No such file)",
        "model.external_missing",
        "A data file of the model is missing.",
        REPAIR,
        error=ModelError,
    ),
    cause(
        r"External initializer: .* are out of bounds|out of bounds (?:and|or) can ?not (?:be )?read in full|"
        r"external data size mismatch|External data length does not match|External data range is outside|"
        r"external_data\.length",
        "model.external_range",
        "A data file of the model is shorter than the model says.",
        REPAIR,
        error=ModelError,
    ),
    cause(
        r"Failed to (?:read|load) external data|External data path validation failed",
        "model.external_unreadable",
        lambda _match, said, _runtime: f"A data file of the model cannot be read: {reason(said)}.",
        "Check the data files beside the model and their permissions.",
        error=ModelError,
    ),
)

FORMAT_CAUSES: tuple[Cause, ...] = (
    cause(
        r"Opset (\d+) is under development.*support for domain (\S+) is till opset (\d+)",
        "model.opset_too_new",
        lambda match, _said, runtime: (
            f"Opset {match[1]}{domain_of(match[2])} is newer than {runtime} takes ({match[3]})."
        ),
        "Convert the model to a lower opset with `quickserveml convert`, or upgrade onnxruntime.",
    ),
    cause(
        r"Unsupported model IR version: (\d+), max supported IR version: (\d+)",
        "model.ir_too_new",
        lambda match, _said, runtime: f"IR version {match[1]} is newer than {runtime} takes ({match[2]}).",
        "Save the model with a lower IR version with `quickserveml convert`, or upgrade onnxruntime.",
    ),
    cause(
        r"Missing model IR version|Unknown model file format version",
        "model.ir_missing",
        "The model does not say which IR version it is written in.",
        EXPORT_AGAIN,
    ),
    cause(
        r"Missing opset in the model|does not (?:have|contain) .{0,40}opset.import",
        "model.opset_missing",
        "The model does not say which opset it uses.",
        EXPORT_AGAIN,
    ),
    cause(
        r"exceeded maximum protobuf size of 2GB",
        "model.too_large",
        "The model file is over 2 GB, more than one ONNX file can hold.",
        "Save its weights as external data.",
        error=ModelError,
    ),
    cause(
        r"No graph was found in the protobuf|does not have a graph",
        "model.no_graph",
        "The file holds no graph: it is empty or not an ONNX model.",
        REPAIR,
        error=ModelError,
    ),
    cause(
        r"[Pp]rotobuf parsing failed|INVALID_PROTOBUF|Failed to parse model|failed to parse the model",
        "model.unreadable",
        "The file is not a readable ONNX model.",
        REPAIR,
        error=ModelError,
    ),
    cause(
        r"Load model .* failed\. ?File doesn't exist|^File doesn't exist",
        "model.missing",
        "The model file is no longer there.",
        "Check the path, or add the model again.",
        error=ModelError,
    ),
    cause(
        r"Failed to construct locale with name:\s*([^:\s]+)",
        "model.locale_missing",
        lambda match, _said, _runtime: f"The model needs the locale {name(match[1])}, which this machine lacks.",
        "Install the locale, or export the text vectoriser with the locale C.",
    ),
)

TENSOR_CAUSES: tuple[Cause, ...] = (
    cause(
        r"Initializer '(?P<name>.*?)': (?:raw_data size|data field count) \((?P<found>[^)]*)\) does not match "
        r"(?:the )?expected .*?\((?P<expected>[^)]*)\)",
        "model.bad_tensor",
        lambda match, _said, _runtime: (
            f"The stored tensor “{name(match['name'])}” holds {name(match['found'])}, "
            f"but its shape and type need {name(match['expected'])}."
        ),
        _DAMAGED,
    ),
    cause(
        r"Type Error: Shape of initializer (?P<name>.*?) does not match\. \{(?P<declared>[^}]*)\} "
        r"!= \{(?P<stored>[^}]*)\}",
        "model.bad_tensor",
        lambda match, _said, _runtime: (
            f"The stored tensor “{name(match['name'])}” has the shape {shape(match['stored'])}, "
            f"but is declared as {shape(match['declared'])}."
        ),
        _DAMAGED,
    ),
    cause(
        r"Data in initializer '(?P<name>.*?)' has element type (?P<found>\S+) but usage of initializer in graph "
        r"expects (?P<expected>\S+)",
        "model.bad_tensor",
        lambda match, _said, _runtime: (
            f"The stored tensor “{name(match['name'])}” holds {dtype(match['found'])}, "
            f"but its nodes expect {dtype(match['expected'])}."
        ),
        _DAMAGED,
    ),
    cause(
        r"Tensor '?(?P<name>.*?)'? ?does not have (?:valid data type|type information)",
        "model.bad_tensor",
        lambda match, _said, _runtime: (
            f"The stored tensor “{name(match['name'])}” has no valid type."
            if match["name"].strip()
            else "A stored tensor of the model has no valid type."
        ),
        _DAMAGED,
    ),
    cause(
        r"Deserialize tensor (?P<name>.*?)(?: failed|(?= source and destination| Tensor| [A-Z]))",
        "model.bad_tensor",
        lambda match, _said, _runtime: (
            f"The stored tensor “{name(match['name'])}” is shorter or longer than its shape and type say."
        ),
        _DAMAGED,
    ),
    cause(
        r"Invalid tensor data type (?P<number>-?\d+)|[Tt]ensor type (?P<other>-?\d+) is not supported",
        "model.bad_tensor",
        lambda match, _said, runtime: (
            f"A tensor of the model has the type number {match['number'] or match['other']}, "
            f"which {runtime} does not know."
        ),
        _DAMAGED,
    ),
    cause(
        r"should have created NodeArg for initializer\. Missing: ?(?P<name>.*)",
        "model.bad_tensor",
        lambda match, _said, _runtime: f"The stored tensor “{name(match['name'])}” is damaged or in the wrong graph.",
        _DAMAGED,
    ),
    cause(
        r"Tensor shape(?:\.Size\(\) must be >= 0| cannot contain any negative value)|[Nn]egative dim|"
        r"Invalid (?:initializer )?dim|corrupted protobuf data|pre-allocate size does not match|"
        r"UnpackTensor|source and destination buffer size mismatch|raw_data|SparseTensor|"
        r"sparse_(?:tensor_)?initializer|Integer overflow|values of data_type '\d+' should be stored in field",
        "model.bad_tensor",
        lambda _match, said, _runtime: f"A stored tensor of the model is not valid: {reason(said)}.",
        _DAMAGED,
    ),
)

MEMORY_CAUSES: tuple[Cause, ...] = (
    cause(
        MEMORY,
        "runtime.out_of_memory",
        "The model needs more memory to load than it may use.",
        "Free memory, or use a smaller or quantised model.",
        error=RunnerError,
    ),
)
