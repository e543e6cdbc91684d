"""What the index says, held against protobuf's own parser reading the whole model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.graph import inline, skim
from quickserveml_tui.graph.header import read_header
from quickserveml_tui.graph.tensors import external_entries, inline_payload, is_external

SMALL = 8
"""Data over so many bytes is left out, so that small inputs reach the code for large ones."""


class WrongIndexError(Exception):
    """The index says something that the file does not."""


def _parsed(data: bytes | memoryview) -> Any:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(bytes(data))
    except DecodeError:
        return None
    return model


def _messages(message: Any) -> list[Any]:
    """The message and all below it, in the order of their fields."""
    found = [message]
    for one in found:
        for field, value in one.ListFields():
            if field.message_type is not None:
                found += value if field.is_repeated else [value]
    return found


_DTYPES = {"float_data": np.float32, "double_data": np.float64}


def _same_data(view: memoryview, payload: inline.Payload, whole: Any) -> bool:
    """Whether what was left out is what the parser found."""
    name = payload.form.name
    found = getattr(whole, name)
    if payload.values is not None and payload.values != len(found):
        return False
    if payload.number == inline.STRINGS:
        return True
    values = inline.numbers(view, payload)
    if name == "raw_data":
        return bool(values.tobytes() == found)
    if name in _DTYPES:
        wanted, no_number = np.asarray(found, _DTYPES[name]), np.isnan(values)
        # Python's floats turn signalling NaNs into quiet ones, so these are told from numbers only.
        return bool(
            np.array_equal(no_number, np.isnan(wanted))
            and np.where(no_number, 0, values).tobytes() == np.where(no_number, 0, wanted).tobytes()
        )
    bits = np.uint64(2**32 - 1) if name == "int32_data" else np.uint64(2**64 - 1)
    wanted = np.array([int(value) & int(bits) for value in found], np.uint64)
    return bool(np.array_equal(values & bits, wanted))


def check_skim(data: bytes) -> None:
    """A model without its large data, with what was left out put back, is the model."""
    whole = _parsed(data)
    view = memoryview(data)
    skim.KEPT_BYTES = SMALL
    try:
        short = skim.skim(view)
    finally:
        skim.KEPT_BYTES = 1024
    if short is view or whole is None:
        return
    model = _parsed(short)
    if model is None:
        raise WrongIndexError("the parser takes the whole model, but not the one without its large data")
    ours, theirs = _messages(model), _messages(whole)
    tensors = [item for item in ours if isinstance(item, onnx.TensorProto)]
    wholes = [item for item in theirs if isinstance(item, onnx.TensorProto)]
    if len(tensors) != len(wholes):
        raise WrongIndexError(f"{len(tensors)} tensors instead of {len(wholes)}")
    for tensor, full in zip(tensors, wholes, strict=True):
        payload = inline_payload(tensor) if is_external(tensor) else None
        if payload is None:
            continue
        if not _same_data(view, payload, full):
            raise WrongIndexError(f"other data in tensor {full.name!r}: {payload}")
        full.ClearField(payload.form.name)
        for name in (payload.form.name, "external_data", "data_location"):
            tensor.ClearField(name)
    if model.SerializeToString(deterministic=True) != whole.SerializeToString(deterministic=True):
        raise WrongIndexError("something else than large data was changed")


def check_header(path: Path, data: bytes) -> None:
    """A header says what the whole model says."""
    try:
        header = read_header(path)
    except ModelError:
        return
    whole = _parsed(data)
    if whole is None:
        return  # damage inside nodes shows when they are read
    locations = {
        external_entries(item).get("location", "")
        for item in _messages(whole)
        if isinstance(item, onnx.TensorProto) and is_external(item)
    }
    graph = whole.graph
    pairs = {
        "ir_version": (header.ir_version, whole.ir_version),
        "nodes": (header.nodes, len(graph.node)),
        "initializers": (header.initializers, len(graph.initializer) + len(graph.sparse_initializer)),
        "functions": (header.functions, len(whole.functions)),
        "outputs": (len(header.outputs), len(graph.output)),
        "file_bytes": (header.file_bytes, len(data)),
    }
    counts = {len(locations), len(locations - {""})}  # no place at all may count as one
    if header.external_files not in counts:
        pairs["external_files"] = (header.external_files, min(counts))
    wrong = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    if wrong:
        raise WrongIndexError(f"header and model differ: {wrong}")
