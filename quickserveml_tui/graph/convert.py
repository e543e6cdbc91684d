"""Write a model with another opset of `ai.onnx` and another IR version."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError, EncodeError

from quickserveml_tui._version import __version__
from quickserveml_tui.core.compatibility import Conversion
from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.graph.alike import keep_functions
from quickserveml_tui.graph.external import external_files
from quickserveml_tui.graph.ir_versions import least_ir_version
from quickserveml_tui.graph.operators import STANDARD, newest_opset, since, standard_opset
from quickserveml_tui.graph.reading import MAX_PROTO_BYTES, Body, ModelProto, bodies, read_model, shown, text
from quickserveml_tui.graph.sniff import map_file
from quickserveml_tui.graph.translate import KEPT_BYTES, take_out, translated, without_functions


def convert_file(path: Path, target: Path, opset: int | None = None, ir_version: int | None = None) -> Conversion:
    """Write the model at `path` to `target`, a new file, with this opset of `ai.onnx` and this IR version.

    Without an opset it keeps its own; without an IR version it keeps its own, raised to what a newer opset and its
    contents need. Where every operator is the same in both opsets only the numbers change: exact, and all else in the
    file stays. Otherwise `onnx.version_converter` translates it; functions with operators that differ are put in place
    of their calls first. External data is copied beside `target`.

    Raises `ModelError`: as `read_model` and `external_files` do; `convert.failed`, which names what stands in the way;
    `convert.unneeded` when nothing would change.
    """
    files = external_files(path)
    if target.name in files:
        raise _failed(f"The model's data lies in a file called “{shown(target.name)}” too.", "Choose another name.")
    model = _read_whole(path)
    has_opset = _imports_standard(model)
    before, ir_before = standard_opset(model.opset_import), model.ir_version
    wanted = before if opset is None else opset
    if not has_opset:
        if ir_version in (None, ir_before):
            raise ModelError(
                "The model uses no operator of ai.onnx, so it has no opset that could be converted.",
                hint="Name an IR version with --ir to change that one.",
                code="convert.unneeded",
            )
        wanted = before
    _check_known(model, wanted)
    functions = (standard_opset(function.opset_import) for function in model.functions)
    by = f"quickserveml {__version__}"
    if wanted != before or max(functions, default=0) > wanted:
        model, is_exact = _with_opset(model, path, wanted)
        by = by if is_exact else f"onnx {onnx.__version__} version_converter"
    elif ir_version in (None, ir_before):
        raise ModelError(
            f"The model has opset {before} and IR version {ir_before} already.",
            hint="Name another opset with --opset, or another IR version with --ir.",
            code="convert.unneeded",
        )
    model.ir_version = _ir_version(model, ir_before, ir_version, wanted, is_newer=wanted > before)
    _write(model, target)
    for name in files:
        (target.parent / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path.parent / name, target.parent / name)
    return Conversion(before, wanted, ir_before, model.ir_version, by=by)


def _failed(message: str, hint: str, said: object = "") -> ModelError:
    return ModelError(message, hint=hint, code="convert.failed", detail=safe_text(said, 300))


def _read_whole(path: Path) -> ModelProto:
    """The model with all its weights; external data stays in its files."""
    read_model(path)  # makes every check of a file
    model = onnx.ModelProto()
    try:
        with map_file(path) as data:
            model.ParseFromString(data)
    except (DecodeError, OSError) as error:
        raise ModelError(f"“{shown(path.name)}” cannot be read.", hint="Try again.", detail=safe_text(error)) from error
    return model


def _check_known(model: ModelProto, wanted: int) -> None:
    """Refuse opsets that the onnx package does not know: it cannot say what their operators mean."""
    newest = newest_opset()
    if not 1 <= wanted <= newest and wanted != standard_opset(model.opset_import):
        raise _failed(f"onnx {onnx.__version__} knows no opset {wanted}.", f"Choose an opset from 1 to {newest}.")
    used = max(standard_opset(item.opset_import) for item in (model, *model.functions))
    if used > newest:
        raise _failed(
            f"The model has opset {used}, and onnx {onnx.__version__} knows opsets up to {newest} only.",
            "Upgrade the onnx package, or export the model again with an older opset.",
        )


# ---- opset -----------------------------------------------------------------------------------------------------------


def _with_opset(model: ModelProto, path: Path, wanted: int) -> tuple[ModelProto, bool]:
    """The model in the wanted opset, and whether nothing but numbers had to change."""
    changing = [body.function is not None for body in bodies(model) if _changes(body, model, wanted)]
    if changing:
        _bring_in_small_data(model, path)
        kept = take_out(model)
        if not all(changing):
            model = translated(model, wanted)
        _stamp(model.opset_import, wanted)
        if any(changing):
            model = _with_functions(model, wanted)
        kept.put_back(model)
    _stamp(model.opset_import, wanted)
    for function in model.functions:
        _stamp(function.opset_import, wanted)
    return model, not changing


def _with_functions(model: ModelProto, wanted: int) -> ModelProto:
    """The model with functions that fit the wanted opset, or without functions."""
    try:
        return without_functions(model, wanted)
    except ModelError:
        if not keep_functions(model, wanted):
            raise
        return model


def _stamp(imports: Any, opset: int) -> None:
    for entry in imports:
        if text(entry.domain) in STANDARD:
            entry.version = opset


def _imports_standard(model: ModelProto) -> bool:
    """Whether the model imports `ai.onnx`; if only its functions do, it is made to, as it will hold their nodes."""
    if any(text(entry.domain) in STANDARD for entry in model.opset_import):
        return True
    own = [entry.version for item in model.functions for entry in item.opset_import if text(entry.domain) in STANDARD]
    if own:
        model.opset_import.add(domain="", version=max(own))
    return bool(own)


def _changes(body: Body, model: ModelProto, wanted: int) -> bool:
    """Whether an operator of a graph or function is another one in the wanted opset.

    Raises `ModelError` (`convert.failed`) for one that its own opset lacks.
    """
    opset = standard_opset((body.function or model).opset_import)
    own = {(text(function.domain), text(function.name)) for function in model.functions}
    used = {(text(node.domain), text(node.op_type)) for node in body.nodes} - own
    names = [name for domain, name in used if domain in STANDARD]
    unknown = next((name for name in sorted(names) if since(name, opset) is None), None)
    if unknown is not None:
        raise _failed(
            f"The operator “{shown(unknown)}” is not in opset {opset}, so it cannot be converted.",
            "Export the model again with standard operators, or with the wanted opset.",
        )
    return any(since(name, opset) != since(name, wanted) for name in names)


def _bring_in_small_data(model: ModelProto, path: Path) -> None:
    """Read small external weights into the model: the converter reads axes, scales and the like."""
    for body in bodies(model):
        for tensor in body.graph.initializer if body.graph is not None else ():
            length = next((entry.value for entry in tensor.external_data if entry.key == "length"), "")
            if onnx.external_data_helper.uses_external_data(tensor) and length.isdigit() and int(length) <= KEPT_BYTES:
                onnx.external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
                tensor.ClearField("data_location")
                tensor.ClearField("external_data")


# ---- IR version ------------------------------------------------------------------------------------------------------


def _ir_version(model: ModelProto, before: int, wanted: int | None, opset: int, *, is_newer: bool) -> int:
    """The IR version to write. Raises `ModelError` (`convert.failed`) for one that cannot hold the model."""
    needed, why = least_ir_version(model)
    official: int = onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", opset)])
    if wanted is None:
        return max(before, needed, official if is_newer else 0)
    if not 1 <= wanted <= onnx.IR_VERSION:
        raise _failed(
            f"onnx {onnx.__version__} knows no IR version {wanted}.", f"Choose one from {needed} to {onnx.IR_VERSION}."
        )
    if wanted < needed:
        raise _failed(
            f"The model cannot have IR version {wanted}: {why} came with version {needed}.",
            f"Choose IR version {needed} or newer with --ir.",
        )
    if wanted < min(before, official):
        raise _failed(
            f"Opset {opset} needs IR version {official} or newer, not {wanted}.",
            "Choose a newer IR version with --ir, or an older opset with --opset.",
        )
    return wanted


def _write(model: ModelProto, target: Path) -> None:
    try:
        data = model.SerializeToString()
    except (EncodeError, ValueError) as error:
        data, reason = b"", str(error)
    if not 0 < len(data) <= MAX_PROTO_BYTES:
        raise _failed(
            "The converted model is larger than 2 GiB, the most that a protobuf file can hold.",
            "Save it with external data first: `onnx.save(model, path, save_as_external_data=True)`.",
            reason if not data else "",
        )
    with target.open("xb") as file:
        file.write(data)
