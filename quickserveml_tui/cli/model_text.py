"""A model as text: its facts, its versions, and what is known of inputs and outputs."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from quickserveml_tui.cli.documents import protected_aliases
from quickserveml_tui.cli.trial_text import remedy
from quickserveml_tui.core.tensors import format_shape
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.units import format_bytes, format_count, significant
from quickserveml_tui.reports.tables import Column, Table, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from quickserveml_tui.cli.output import Output
    from quickserveml_tui.core.catalog import ModelView
    from quickserveml_tui.core.compatibility import Compatibility
    from quickserveml_tui.core.facts import ModelFacts, ModelHeader
    from quickserveml_tui.core.models import AliasEvent, VersionRecord
    from quickserveml_tui.core.tensors import TensorSpec

_VERSION_COLUMNS = (
    Column("version", "Version", align="right", show=lambda number: f"@{number}"),
    Column("label", "Label"),
    Column("aliases", "Aliases"),
    Column("dtype", "Type"),
    Column("params", "Params", align="right", show=format_count),
    Column("size_bytes", "Size", align="right", show=format_bytes),
    Column("p50_ms", "p50", "ms", align="decimal", show=significant),
    Column("state", "State"),
    Column("created_at", "Added"),
)
_LAST_MOVES = 5
_TENSOR_COLUMNS = (Column("role", ""), Column("name", "Name"), Column("dtype", "Type"), Column("shape", "Shape"))


def print_view(output: Output, view: ModelView, number: int | None, compatibility: Compatibility | None = None) -> None:
    """Print a model with its versions; with a number, that version's own facts too."""
    from quickserveml_tui.cli.tables import print_table

    model = view.model
    version = model.version(number) if number is not None else model.latest
    output.heading(f"{model.name}@{number}" if number is not None else model.name)
    output.pairs(
        [
            ("Description", model.description),
            ("Task", model.task),
            ("Author", model.author),
            ("Framework", model.framework),
            ("Licence", model.license),
            ("Tags", ", ".join(model.tags)),
            ("Categories", ", ".join(model.categories)),
            ("Aliases", ", ".join(f"{alias} → @{target}" for alias, target in sorted(model.aliases.items()))),
            ("Protected", ", ".join(protected_aliases(model))),
            *((key, value) for key, value in sorted(model.metadata.items())),
            ("Updated", model.updated_at),
        ]
    )
    if version is not None:
        output.line()
        _print_version(output, version)
        for text in mismatch_lines(compatibility):
            output.line(f"{output.style('!', 'warn')} {text}")
    output.line()
    print_table(output, _versions_table(view))
    if model.alias_history:
        output.line()
        output.lines(history_lines(model.alias_history[-_LAST_MOVES:]))


def history_lines(events: Sequence[AliasEvent]) -> Iterator[str]:
    """Moves of aliases, oldest first: `2026-11-23T10:15:30.123Z  prod  @1 → @2`."""
    for event in events:
        before, after = (f"@{number}" if number else "none" for number in (event.previous, event.version))
        yield f"{safe_text(event.at, 40)}  {safe_text(event.alias)}  {before} → {after}"


def _links(version: VersionRecord) -> str:
    return ", ".join(file.link.path for file in version.artifact.files if file.link is not None)


def _tried(version: VersionRecord) -> str:
    trial = version.trial
    return " with ".join(filter(None, (trial.tried_at or version.created_at, trial.runtime)))


def _print_version(output: Output, version: VersionRecord) -> None:
    output.pairs(
        [
            ("Version", f"@{version.version}  {version.label}".rstrip()),
            ("State", version.state.value),
            ("Digest", version.artifact.digest),
            ("Source", version.source),
            ("Linked to", _links(version)),
            ("Made from", version.lineage.made_from),
            ("Converted by", version.lineage.converted_by),
            ("Parent", version.lineage.parent),
            ("Golden outputs", len(version.golden) or ""),
            ("Notes", version.notes),
            ("In quarantine" if version.trial.quarantined else "Cannot run", version.trial.reason),
            ("What to do", "" if version.runnable else remedy(version.trial)),
            ("Warning", version.trial.warning),
            ("Tried", _tried(version)),
            ("Inputs made by", shlex.join(version.feed.to_args())),
            *((key, value) for key, value in sorted(version.metadata.items())),
        ]
    )


def _versions_table(view: ModelView) -> Table:
    model = view.model
    return table(
        _VERSION_COLUMNS,
        [
            (
                item.version,
                item.label,
                model.aliases_of(item.version),
                item.facts.main_dtype,
                item.facts.params,
                item.artifact.size_bytes,
                view.p50_ms(item.version),
                item.status,
                item.created_at,
            )
            for item in model.versions
        ],
    )


def mismatch_lines(compatibility: Compatibility | None) -> Iterator[str]:
    """A sentence for each format that the runtime does not take, with the remedy."""
    for item in compatibility.mismatches if compatibility else ():
        what = f"{item.what[:1].upper()}{item.what[1:]}"
        runtime = compatibility.limits.runtime if compatibility else ""
        yield safe_text(f"{what} is {item.has}; {runtime} takes up to {item.takes}. {item.remedy}", 1_000)


def tensors_table(facts: ModelFacts | ModelHeader) -> Table:
    """Inputs and outputs of a model."""
    return table(_TENSOR_COLUMNS, [*_tensor_rows("input", facts.inputs), *_tensor_rows("output", facts.outputs)])


def _tensor_rows(role: str, specs: Sequence[TensorSpec]) -> list[tuple[str, str, str, str]]:
    return [(role, spec.name, spec.dtype, format_shape(spec.shape)) for spec in specs]


def facts_pairs(facts: ModelFacts) -> list[tuple[str, object]]:
    """Labels and values of a model's facts."""
    operators = sorted(facts.op_types.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{name} {count:,}" for name, count in operators[:8])
    more = f" and {len(operators) - 8:,} more" if len(operators) > 8 else ""
    return [
        ("Producer", facts.producer),
        (
            "Format",
            f"IR {facts.ir_version}, " + ", ".join(f"{domain} {version}" for domain, version in facts.opsets.items()),
        ),
        ("Nodes", f"{facts.nodes:,}"),
        ("Params", format_count(facts.params)),
        ("MACs", format_count(facts.macs) if facts.macs is not None else "unknown: shapes are missing"),
        ("Size", format_bytes(facts.size_bytes)),
        ("Weights", ", ".join(f"{dtype} {format_count(count)}" for dtype, count in facts.weight_dtypes.items())),
        ("Operators", shown + more),
        ("Functions", facts.functions or ""),
        ("Notes", facts.doc),
    ]
