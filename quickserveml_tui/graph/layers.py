"""Read the layer table of a model file without running it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import onnx

from quickserveml_tui.core.facts import LayerPage, LayerRow
from quickserveml_tui.core.tensors import DTYPE_BITS, Dim
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.graph.layer_index import LayerIndex, Visit, open_index
from quickserveml_tui.graph.macs import node_macs
from quickserveml_tui.graph.reading import Node, Tensor, text
from quickserveml_tui.graph.scopes import Scope, ValueType
from quickserveml_tui.graph.tensors import MAX_ELEMENTS, dtype_name
from quickserveml_tui.graph.weights import SHAPE_SLOTS

MAX_LIMIT = 100_000
MAX_LISTED = 16
MAX_ATTRIBUTE_CHARS = 120
_KIND = onnx.AttributeProto


def read_layers(path: Path, offset: int = 0, limit: int = 10_000, *, shapes: bool = True) -> LayerPage:
    """Rows `offset` to `offset + limit` of the layer table: nodes in file order, those of subgraphs after their owner.

    `macs` and `output_bytes` hold at batch 1, `output_shape` keeps symbolic dims by name. Nodes inside functions are
    no rows of their own. Raises `ModelError` as `read_facts` does. The first page of a file takes time in proportion
    to its graph; what was learned is kept, so that the next ones take what their own rows do. Without `shapes` the
    first page takes a microsecond a node: rows have no shapes, multiply-adds and bytes where those are not known yet,
    and only damage in nodes and weights is found.
    """
    index = open_index(path, shapes=shapes)
    offset, limit = max(offset, 0), min(max(limit, 0), MAX_LIMIT)
    rows = tuple(
        _finish(_draft(at, visit.scope, visit.node), visit, index) for at, visit in index.visits(offset, limit)
    )
    return LayerPage(rows, index.total, offset, index.complete)


def _draft(index: int, scope: Scope, node: Node) -> LayerRow:
    """The row as far as the file alone tells, shapes left out."""
    outputs = tuple(text(name) for name in node.output)
    return LayerRow(
        index=index,
        name=text(node.name) or next((name for name in outputs if name), ""),
        op=text(node.op_type),
        domain=text(node.domain),
        depth=scope.depth,
        inputs=tuple(text(name) for name in node.input),
        outputs=outputs,
        output_shape=None,
        output_dtype="",
        params=_params(scope, node),
        macs=None,
        output_bytes=None,
        attributes={text(item.name): attribute_text(item) for item in islice(node.attribute, 64)},
    )


def _params(scope: Scope, node: Node) -> int:
    """Weights that the node reads, also those that Constant nodes make: the node that uses them shows them."""
    shaping = SHAPE_SLOTS.get(node.op_type, ())
    names = {text(raw) for slot, raw in enumerate(node.input) if raw and slot not in shaping}
    return sum(weight.elements for weight in map(scope.find_weight, names) if weight)


def _finish(draft: LayerRow, visit: Visit, index: LayerIndex) -> LayerRow:
    if visit.symbolic is None or visit.fixed is None:
        return draft
    output = draft.outputs[0] if draft.outputs else ""
    declared, sized = visit.symbolic.find_type(output), visit.fixed.find_type(output)
    return LayerRow(
        index=draft.index,
        name=draft.name,
        op=draft.op,
        domain=draft.domain,
        depth=draft.depth,
        inputs=draft.inputs,
        outputs=draft.outputs,
        output_shape=_known(declared.shape, index.own_symbols) if declared else None,
        output_dtype=declared.dtype if declared and declared.dtype != "undefined" else "",
        params=draft.params,
        macs=node_macs(visit.node, visit.fixed),
        output_bytes=_bytes(sized),
        attributes=draft.attributes,
    )


def _bytes(value: ValueType | None) -> int | None:
    sizes = value.sizes() if value else None
    bits = DTYPE_BITS.get(value.dtype) if value else None
    if sizes is None or bits is None:
        return None
    size = (math.prod(sizes) * bits + 7) // 8
    return size if size <= MAX_ELEMENTS else None


def _known(shape: tuple[Dim, ...] | None, own_symbols: frozenset[str]) -> tuple[Dim, ...] | None:
    """The shape without the names that inference makes up (`unk__7`)."""
    if shape is None:
        return None
    return tuple(dim if isinstance(dim, int) or dim in own_symbols else None for dim in shape)


def attribute_text(attribute: Any) -> str:
    """An attribute's value as one short line."""
    return safe_text(_attribute(attribute), MAX_ATTRIBUTE_CHARS)


def _attribute(item: Any) -> str:
    if item.ref_attr_name:
        return f"@{text(item.ref_attr_name)}"
    if item.type == _KIND.FLOAT:
        return f"{item.f:g}"
    if item.type == _KIND.INT:
        return str(item.i)
    if item.type == _KIND.STRING:
        return text(item.s[: MAX_ATTRIBUTE_CHARS * 4])
    if item.type == _KIND.TENSOR:
        return _tensor_text(item.t)
    if item.type == _KIND.GRAPH:
        return f"graph of {len(item.g.node):,} nodes"
    if item.type == _KIND.FLOATS:
        return _listed((f"{value:g}" for value in islice(item.floats, MAX_LISTED)), len(item.floats))
    if item.type == _KIND.INTS:
        return _listed((str(value) for value in islice(item.ints, MAX_LISTED)), len(item.ints))
    if item.type == _KIND.STRINGS:
        shown = (text(value[: MAX_ATTRIBUTE_CHARS * 4]) for value in islice(item.strings, MAX_LISTED))
        return _listed(shown, len(item.strings))
    return _KIND.AttributeType.Name(item.type).lower() if item.type in _KIND.AttributeType.values() else "unknown"


def _listed(values: Iterator[str], count: int) -> str:
    body = ", ".join(values)
    return f"[{body}, … {count:,} in all]" if count > MAX_LISTED else f"[{body}]"


def _tensor_text(tensor: Tensor) -> str:
    dims = "×".join(str(dim) for dim in tensor.dims[:8]) or "scalar"
    return f"{dtype_name(tensor.data_type)} {dims}"
