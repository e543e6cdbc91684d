"""What a model file says about itself, read without running it."""

from __future__ import annotations

from dataclasses import dataclass, field

from quickserveml_tui.core.tensors import Dim, TensorSpec


@dataclass(frozen=True, slots=True)
class ModelHeader:
    """What a model file says at once, however large it is: nothing here needs a walk over its nodes in Python."""

    ir_version: int
    opsets: dict[str, int]
    producer: str
    graph_name: str
    inputs: tuple[TensorSpec, ...]
    """Without initializers that old models list among the inputs."""
    outputs: tuple[TensorSpec, ...]
    size_bytes: int
    """Model file with its external data, as far as that is there."""
    file_bytes: int
    """Model file alone."""
    nodes: int
    """Nodes of the main graph, subgraphs and functions not counted."""
    initializers: int
    """Initializers of the main graph, sparse ones included."""
    functions: int = 0
    external_files: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    doc: str = ""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Facts of a model file."""

    ir_version: int
    opsets: dict[str, int]
    """Version by operator domain; the default domain is `ai.onnx`."""
    producer: str
    """Producer name and version."""
    graph_name: str
    inputs: tuple[TensorSpec, ...]
    """Without initializers that old models list among the inputs."""
    outputs: tuple[TensorSpec, ...]
    nodes: int
    """Nodes, subgraphs included."""
    params: int
    """Weight elements in initializers, Constant and ConstantOfShape nodes, subgraphs included."""
    macs: int | None
    """Multiply-adds at batch 1; None where shapes are unknown."""
    size_bytes: int
    """Model file with its external data."""
    weight_dtypes: dict[str, int] = field(default_factory=dict)
    """Weight elements by dtype."""
    op_types: dict[str, int] = field(default_factory=dict)
    """Node count by operator; operators of other domains are prefixed `domain:`."""
    functions: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    doc: str = ""
    warnings: tuple[str, ...] = ()
    """Findings that do not stop the model, such as the checker's."""

    @property
    def main_dtype(self) -> str:
        """The dtype that most weight elements have, else that of the first input."""
        if self.weight_dtypes:
            return max(self.weight_dtypes, key=lambda dtype: self.weight_dtypes[dtype])
        return self.inputs[0].dtype if self.inputs else ""


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One node of the graph as a table row."""

    index: int
    """Position in the graph, from 0; nodes of subgraphs follow their owner."""
    name: str
    """The node's name, or its first output where it has none."""
    op: str
    domain: str
    depth: int
    """0 for the main graph, 1 and more in subgraphs."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    output_shape: tuple[Dim, ...] | None
    output_dtype: str
    params: int
    """Weight elements among its inputs and attributes; shared weights count at each user."""
    macs: int | None
    output_bytes: int | None
    attributes: dict[str, str] = field(default_factory=dict)
    """Attribute values as short text."""


@dataclass(frozen=True, slots=True)
class LayerPage:
    """A part of the layer table."""

    rows: tuple[LayerRow, ...]
    total: int
    """Rows in the whole graph."""
    offset: int = 0
    shapes: bool = True
    """Whether shapes and multiply-adds were looked for; False where only what the file itself says was asked."""
