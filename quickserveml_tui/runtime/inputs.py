"""Reads inputs from NPZ and JSON files or Python values, and fits them to the model's inputs."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.values import Value
from quickserveml_tui.runtime.data_files import open_data, too_large
from quickserveml_tui.runtime.feeds import MAX_FEED_BYTES
from quickserveml_tui.runtime.fitting import fit_value
from quickserveml_tui.runtime.value_files import read_values

MAX_JSON_BYTES = 256 << 20
MAX_JSON_DEPTH = 64
"""As deep as a numpy array can be."""


def load_inputs(path: Path, inputs: Sequence[TensorSpec]) -> dict[str, Value]:
    """Values by input name from an NPZ or JSON file, of the model's types and shapes.

    NPZ is what `value_files` writes, or any file of plain arrays. JSON is `{name: values}`, the same below `"inputs"`,
    a list of `{"name", "data"}` below `"inputs"` (the Open Inference Protocol), or the bare values for a model with one
    input: lists for tensors and sequences, objects for maps, null for an optional input without a value. Raises
    `DataError` naming the input, what was expected and what was found.
    """
    with open_data(path) as file:
        size = os.fstat(file.fileno()).st_size
        magic = file.read(4)
        file.seek(0)
        if magic[:4] == b"PK\x03\x04" or magic[:4] == b"PK\x05\x06":
            return fit_inputs(read_values(file, MAX_FEED_BYTES), inputs)
        if size > MAX_JSON_BYTES:
            raise too_large(size, MAX_JSON_BYTES)
        return fit_inputs(parse_json(file.read(MAX_JSON_BYTES + 1), inputs), inputs)


def fit_inputs(values: Mapping[str, Any], inputs: Sequence[TensorSpec]) -> dict[str, Value]:
    """Values by name as the model's inputs take them; an optional one may be left out. Raises `DataError`."""
    known = {spec.name: spec for spec in inputs}
    extra = [name for name in values if name not in known]
    if extra:
        near = difflib.get_close_matches(extra[0], known, 1)
        raise DataError(
            f"The model has no input “{safe_text(extra[0], 60)}”.",
            hint=f"Did you mean “{safe_text(near[0], 60)}”?" if near else f"Its inputs: {_listed(known)}.",
            code="data.unknown_input",
        )
    missing = [name for name, spec in known.items() if name not in values and spec.kind != "optional"]
    if missing:
        raise DataError(
            f"Input “{safe_text(missing[0], 60)}” is missing.",
            hint=f"Give all of: {_listed(known)}.",
            code="data.missing_input",
        )
    return {name: fit_value(values.get(name), spec) for name, spec in known.items()}


def _listed(names: Mapping[str, object]) -> str:
    shown = ", ".join(safe_text(name, 60) for name in list(names)[:8])
    return shown + (", …" if len(names) > 8 else "")


# ---- JSON ---------------------------------------------------------------------------------------------------------


def parse_json(data: bytes, inputs: Sequence[TensorSpec]) -> dict[str, Any]:
    """Values by input name from a JSON document in one of the forms of `load_inputs`. Raises `DataError`."""
    try:
        document = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"))
    except RecursionError as error:
        raise _too_deep() from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"The file is neither NPZ nor JSON: {safe_text(error, 120)}.",
            hint='Where it has NaN or infinity, write the strings "NaN", "Infinity", "-Infinity".',
            code="data.unreadable",
        ) from error
    if isinstance(document, dict) and "inputs" in document and "inputs" not in {spec.name for spec in inputs}:
        document = document["inputs"]
        if isinstance(document, list) and document and all(isinstance(item, dict) for item in document):
            return _from_protocol(document)
    if isinstance(document, dict):
        return document
    if len(inputs) == 1:
        return {inputs[0].name: document}
    raise DataError(
        "The file holds bare values, but the model has several inputs.",
        hint=f"Write an object: {{{', '.join(f'“{safe_text(spec.name, 40)}”: …' for spec in inputs[:4])}}}.",
        code="data.invalid",
    )


def _from_protocol(tensors: list[dict[str, Any]]) -> dict[str, Any]:
    values = {}
    for tensor in tensors:
        if not isinstance(tensor.get("name"), str) or "data" not in tensor:
            raise DataError("An entry of “inputs” lacks its name or data.", code="data.invalid")
        value = tensor["data"]
        shape = tensor.get("shape")
        if isinstance(shape, list) and isinstance(value, list) and not any(isinstance(item, list) for item in value):
            if not all(isinstance(dim, int) and dim >= 0 for dim in shape) or math.prod(shape) != len(value):
                raise DataError(
                    f"Input “{safe_text(tensor['name'], 60)}” has {len(value)} values, which its shape does not hold.",
                    code="data.shape",
                )
            try:
                # Nested lists cannot say the shape of a tensor without elements: an array can.
                value = np.array(value, dtype=object).reshape(shape).tolist() if value else np.empty(shape, object)
            except (ValueError, OverflowError) as error:
                raise DataError(
                    f"Input “{safe_text(tensor['name'], 60)}” has a shape that no array can have.",
                    hint=f"Give at most {MAX_JSON_DEPTH} dimensions of a size that fits into memory.",
                    code="data.shape",
                ) from error
        values[tensor["name"]] = value
    return values


def _too_deep() -> DataError:
    return DataError(
        f"The values are nested more than {MAX_JSON_DEPTH} deep.", hint="Check the brackets.", code="data.too_deep"
    )
