"""How `inspect --header` shows what a model file says at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quickserveml_tui.cli.documents import tensor_document
from quickserveml_tui.core.units import format_bytes

if TYPE_CHECKING:
    from quickserveml_tui.cli.output import Output
    from quickserveml_tui.core.facts import ModelHeader


def header_document(ref: str, header: ModelHeader) -> dict[str, Any]:
    """The header as a document."""
    return {
        "ref": ref,
        "ir_version": header.ir_version,
        "opsets": dict(header.opsets),
        "producer": header.producer,
        "graph_name": header.graph_name,
        "inputs": [tensor_document(spec) for spec in header.inputs],
        "outputs": [tensor_document(spec) for spec in header.outputs],
        "size_bytes": header.size_bytes,
        "file_bytes": header.file_bytes,
        "nodes": header.nodes,
        "initializers": header.initializers,
        "functions": header.functions,
        "external_files": header.external_files,
        "metadata": dict(header.metadata),
        "doc": header.doc,
    }


def header_pairs(header: ModelHeader) -> list[tuple[str, object]]:
    """Labels and values of a header."""
    formats = ", ".join(f"{domain} {version}" for domain, version in header.opsets.items())
    size = format_bytes(header.size_bytes)
    if header.external_files:
        size += f", {format_bytes(header.file_bytes)} of it in the model file, {header.external_files:,} beside it"
    return [
        ("Producer", header.producer),
        ("Graph", header.graph_name),
        ("Format", f"IR {header.ir_version}, {formats}"),
        ("Nodes", f"{header.nodes:,} in the main graph"),
        ("Initializers", f"{header.initializers:,}"),
        ("Size", size),
        ("Functions", header.functions or ""),
        ("Notes", header.doc),
    ]


def print_header(output: Output, ref: str, header: ModelHeader) -> None:
    """Print a header as a document or as text."""
    if output.as_json:
        output.document(header_document(ref, header))
        return
    from quickserveml_tui.cli.model_text import tensors_table
    from quickserveml_tui.cli.tables import print_table

    output.heading(ref)
    output.pairs(header_pairs(header))
    output.line()
    if header.inputs or header.outputs:
        print_table(output, tensors_table(header))
