"""Infer the shapes of a model's values, on a skeleton without the large weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx
from onnx import checker, inliner, shape_inference

from quickserveml_tui.core.text import safe_text
from quickserveml_tui.graph.reading import Graph, ModelProto, bodies, subgraphs, text
from quickserveml_tui.graph.tensors import is_external

MAX_KEPT_BYTES = 1024
"""Tensors up to this size stay in the skeleton: shapes and axes are among them."""
MAX_SKELETON_BYTES = 256 * 2**20
MAX_NODES = 200_000
"""Inference takes 4 µs a node and cannot be interrupted."""

_FAILURES = (shape_inference.InferenceError, checker.ValidationError, RuntimeError, ValueError, TypeError)


def _is_heavy(tensor: Any) -> bool:
    return is_external(tensor) or tensor.ByteSize() > MAX_KEPT_BYTES


def _is_heavy_sparse(sparse: Any) -> bool:
    return _is_heavy(sparse.values) or _is_heavy(sparse.indices)


def _declare(main: Graph, name: str, dtype: int, dims: Any) -> None:
    main.input.append(onnx.helper.make_tensor_value_info(name, dtype, list(dims)))


def _unique(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "'"
    taken.add(name)
    return name


def _rename(graph: Graph, old: str, new: str) -> None:
    """Let a subgraph and those below it read another name."""
    for output in graph.output:
        if text(output.name) == old:
            output.name = new
    for node in graph.node:
        for slot, name in enumerate(node.input):
            if text(name) == old:
                node.input[slot] = new
        for _, inner in subgraphs(node):
            _rename(inner, old, new)


def _lift_initializers(main: Graph, graph: Graph, taken: set[str]) -> None:
    heavy = [(text(tensor.name), tensor.data_type, tensor.dims) for tensor in graph.initializer if _is_heavy(tensor)]
    heavy += [
        (text(sparse.values.name), sparse.values.data_type, sparse.dims)
        for sparse in graph.sparse_initializer
        if _is_heavy_sparse(sparse)
    ]
    for name, dtype, dims in heavy:
        if graph is not main:  # under a name of its own: other branches may use the same one for something else
            lifted = _unique(f"{name}/lifted", taken)
            _declare(main, lifted, dtype, dims)
            _rename(graph, name, lifted)
        elif name not in taken:  # models before IR 4 list it among the inputs already
            _declare(main, _unique(name, taken), dtype, dims)
    _keep(graph.initializer, [tensor for tensor in graph.initializer if not _is_heavy(tensor)])
    _keep(graph.sparse_initializer, [sparse for sparse in graph.sparse_initializer if not _is_heavy_sparse(sparse)])


def _keep(field: Any, kept: list[Any]) -> None:
    if len(kept) < len(field):
        copies = [type(item).FromString(item.SerializeToString()) for item in kept]
        del field[:]
        field.extend(copies)


def _heavy_constant(node: Any) -> tuple[int, Any] | None:
    """dtype and dims of what a Constant holds, if that is large."""
    attribute = node.attribute[0]
    if attribute.HasField("t") and _is_heavy(attribute.t):
        return attribute.t.data_type, attribute.t.dims
    if attribute.HasField("sparse_tensor") and _is_heavy_sparse(attribute.sparse_tensor):
        return attribute.sparse_tensor.values.data_type, attribute.sparse_tensor.dims
    return None


def _lift_constants(main: Graph, nodes: Any, taken: set[str]) -> None:
    for node in nodes:
        if node.op_type != "Constant" or not node.attribute or not node.output or any(subgraphs(node)):
            continue
        heavy = _heavy_constant(node)
        if heavy is None:
            continue
        name = _unique(f"{text(node.output[0])}/lifted", taken)
        _declare(main, name, *heavy)
        node.op_type = "Identity"
        del node.attribute[:]
        node.input.append(name)


def _empty_sparse(nodes: Any) -> None:
    """Take the entries out of large sparse tensors that nothing lifts: the checker wants to read their indices."""
    for node in nodes:
        for attribute in node.attribute:
            single = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
            for sparse in (*single, *attribute.sparse_tensors):
                if _is_heavy_sparse(sparse):
                    for tensor in (sparse.values, sparse.indices):
                        name, dtype = tensor.name, tensor.data_type
                        tensor.Clear()
                        tensor.name, tensor.data_type, tensor.raw_data = name, dtype, b""
                        tensor.dims.append(0)


def make_skeleton(model: ModelProto) -> ModelProto:
    """Turn the model, in place, into one without large weights whose shapes are the same; returns it.

    Each large tensor becomes an input of the main graph, which subgraphs can read as well; a large Constant becomes
    an Identity of such an input, so that nodes keep their positions. Functions stay as they are.
    """
    main = model.graph
    taken = {text(info.name) for info in main.input} | {text(name) for node in main.node for name in node.output}
    for body in list(bodies(model)):
        if body.function is None:
            if body.graph is not None:
                _lift_initializers(main, body.graph, taken)
            _lift_constants(main, body.nodes, taken)
        _empty_sparse(body.nodes)
    return model


def _all_dims(graph: Graph) -> Iterator[Any]:
    for info in (*graph.input, *graph.output, *graph.value_info):
        kind = info.type.WhichOneof("value")
        if kind in ("tensor_type", "sparse_tensor_type"):
            yield from getattr(info.type, kind).shape.dim


def symbols(model: ModelProto) -> set[str]:
    """The symbolic dim names that the model itself uses; inference makes up others."""
    return {text(dim.dim_param) for body in bodies(model) if body.graph for dim in _all_dims(body.graph)}


def fix_batch(skeleton: ModelProto) -> ModelProto:
    """Set every open dim of the inputs to 1, in place, and leave what depended on them to inference; returns it."""
    named = set()
    for info in skeleton.graph.input:
        for dim in info.type.tensor_type.shape.dim:
            if not dim.HasField("dim_value") or dim.dim_value < 0:
                named.add(dim.dim_param)
                dim.dim_value = 1
    for body in bodies(skeleton):
        if body.graph is not None:
            for dim in _all_dims(body.graph):
                if dim.HasField("dim_param"):
                    if dim.dim_param in named:
                        dim.dim_value = 1
                    else:
                        dim.Clear()
    return skeleton


def is_small_enough(skeleton: ModelProto) -> bool:
    """Whether checker and inference may be run on it."""
    nodes = sum(len(body.nodes) for body in bodies(skeleton))
    return nodes <= MAX_NODES and skeleton.ByteSize() <= MAX_SKELETON_BYTES


def infer(skeleton: bytes) -> ModelProto:
    """A serialised skeleton with all shapes that can be inferred, or as it is where inference fails.

    Serialised, so that the caller need not hold it parsed as well: 36 MB for 100,000 nodes.
    """
    try:
        return shape_inference.infer_shapes(skeleton, data_prop=True)
    except _FAILURES:
        return onnx.ModelProto.FromString(skeleton)


def expand_functions(skeleton: ModelProto) -> ModelProto:
    """The skeleton with its function calls written out; unchanged where that fails. Measure the expansion before."""
    try:
        return inliner.inline_local_functions(skeleton)
    except _FAILURES:
        return skeleton


def checker_findings(skeleton: ModelProto) -> str:
    """What `onnx.checker` has to say, as one line of at most 300 characters; empty when it is content."""
    try:
        checker.check_model(skeleton)
    except _FAILURES as error:
        return safe_text(str(error).strip().split("\n==>", 1)[0], 300)
    return ""
