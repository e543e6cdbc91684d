"""The fields of the catalog: filters, completion and `docs/filters.md` follow from this table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from quickserveml_tui.core.filters.comparisons import Verdicts
from quickserveml_tui.core.filters.fields import Field, FieldTable, Kind
from quickserveml_tui.core.heads import FactsHead, ModelHead, VersionHead
from quickserveml_tui.core.models import QUARANTINED, TrialOutcome, VersionState
from quickserveml_tui.core.tensors import short_dtype
from quickserveml_tui.services.catalog_rows import Row

CatalogField: TypeAlias = Field[Row]
FIGURES = "figures"
"""Source of the fields that need the figures of saved benchmarks."""

STATES = tuple(state.value for state in VersionState)
OUTCOMES = (TrialOutcome.READY.value, TrialOutcome.UNRUNNABLE.value)


# ---- reading --------------------------------------------------------------------------------------------------------


def _of_head(get: Callable[[ModelHead], Any]) -> Callable[[Row], Any]:
    return lambda row: get(row.head)


def _of_version(get: Callable[[VersionHead], Any]) -> Callable[[Row], Any]:
    return lambda row: None if row.version is None else get(row.version)


def _of_facts(get: Callable[[FactsHead], Any]) -> Callable[[Row], Any]:
    return lambda row: None if row.version is None else get(row.version.facts)


def _many_of_version(get: Callable[[VersionHead], Iterable[str]]) -> Callable[[Row], Iterable[str]]:
    return lambda row: () if row.version is None else get(row.version)


def _of_figures(name: str) -> Callable[[Row], Any]:
    return lambda row: None if row.figures is None else getattr(row.figures, name)


def _dtypes(version: VersionHead) -> list[str]:
    facts = version.facts
    return [*facts.weight_dtypes, *(spec.dtype for spec in (*facts.inputs, *facts.outputs))]


def _states(version: VersionHead) -> tuple[str, ...]:
    quarantined = (QUARANTINED,) if version.trial.quarantined else ()
    return (version.state.value, version.trial.outcome.value, *quarantined)


def _digests(version: VersionHead) -> list[str]:
    return [version.artifact.digest, *(file.digest for file in version.artifact.files)]


# ---- what else a value answers to -----------------------------------------------------------------------------------


def category_forms(category: str) -> tuple[str, ...]:
    """The categories above one: `vision` and `vision/segmentation` of `vision/segmentation/medical`."""
    parts = category.casefold().split("/")
    return tuple("/".join(parts[:count]) for count in range(1, len(parts)))


def op_forms(op: str) -> tuple[str, ...]:
    """An operator of another domain without it: `gelu` of `com.microsoft:Gelu`."""
    domain, _colon, name = op.casefold().rpartition(":")
    return (name,) if domain else ()


def dtype_forms(dtype: str) -> tuple[str, ...]:
    """Shorter words for a dtype: `f32` and `fp32` of `float32`."""
    folded = dtype.casefold()
    short = short_dtype(folded)
    floats = (folded.replace("float", "fp"),) if folded.startswith("float") else ()
    return (*((short,) if short != folded else ()), *floats)


# ---- the table ------------------------------------------------------------------------------------------------------


def _text(name: str, help_text: str, example: str, **options: Any) -> CatalogField:
    get = _of_head(lambda head: getattr(head, name) or None)
    return Field(name, Kind.TEXT, get, help_text, example, **options)


_MODEL_FIELDS: tuple[CatalogField, ...] = (
    _text("name", "name of the model", "name ILIKE resnet%"),
    _text("id", "stable id of the model", "id = model-0198f2", suggests=False),
    _text("task", "what the model does", "task ILIKE '%detection%'"),
    _text("author", "who made it", 'author = "Ada Lovelace"'),
    _text("description", "sentence about it", "description ILIKE '%encoder%'", suggests=False),
    _text("framework", "what it was made with", "framework IN (pytorch, jax)"),
    _text("license", "its licence", "license:apache"),
    Field("tag", Kind.TEXT, _of_head(lambda head: head.tags), "any of its tags", "tag = vision",
          many=True, names=("tags",)),
    Field("category", Kind.TEXT, _of_head(lambda head: head.categories),
          "any of its categories; one counts as all those above it", "category = vision",
          many=True, names=("categories",), forms=category_forms),
    Field("alias", Kind.TEXT, _of_head(lambda head: head.aliases), "any alias, whatever version it points at",
          "alias = prod", many=True, names=("aliases",)),
    Field("versions", Kind.COUNT, _of_head(lambda head: len(head.versions)), "how many versions there are",
          "versions > 1"),
    Field("created", Kind.DATE, _of_head(lambda head: head.created_at), "when the model was added",
          "created >= 2026-01-31"),
    Field("updated", Kind.DATE, _of_head(lambda head: head.updated_at), "when it was last changed", "updated > 7d"),
)  # fmt: skip

_VERSION_FIELDS: tuple[CatalogField, ...] = (
    Field("version", Kind.COUNT, _of_version(lambda version: version.version), "number of the latest version",
          "version >= 3"),
    Field("label", Kind.TEXT, _of_version(lambda version: version.label or None), "its label", "label:1.2",
          names=("labels",)),
    Field("state", Kind.CHOICE, _many_of_version(_states),
          "its state or outcome; `quarantined` broke the process that tried it", "state = quarantined", many=True,
          choices=(*STATES, *OUTCOMES, QUARANTINED), names=("status",)),
    Field("outcome", Kind.CHOICE, _of_version(lambda version: version.trial.outcome.value),
          "what its trial found", "outcome = unrunnable", choices=OUTCOMES),
    Field("runnable", Kind.FLAG, _of_version(lambda version: version.trial.outcome is TrialOutcome.READY),
          "whether it runs", "runnable = true"),
    Field("golden", Kind.COUNT, _of_version(lambda version: len(version.golden)), "how many golden outputs it has",
          "golden > 0"),
    Field("size", Kind.SIZE, _of_version(lambda version: version.artifact.size_bytes),
          "size of its files: MB is 10^6 bytes, MiB 2^20", "size < 25MB"),
    Field("params", Kind.COUNT, _of_facts(lambda facts: facts.params), "weight elements; k, M, G and T are allowed",
          "params < 10M", names=("parameters",)),
    Field("macs", Kind.COUNT, _of_facts(lambda facts: facts.macs), "multiply-adds of one item", "macs <= 1.5G"),
    Field("nodes", Kind.COUNT, _of_facts(lambda facts: facts.nodes), "nodes of the graph", "nodes > 100"),
    Field("op", Kind.TEXT, _many_of_version(lambda version: version.facts.op_types),
          "any of its operators, with or without domain", "op = Conv", many=True, names=("ops",), forms=op_forms),
    Field("dtype", Kind.TEXT, _many_of_version(_dtypes), "any dtype of its weights, inputs and outputs",
          "dtype = float16", many=True, names=("dtypes",), forms=dtype_forms),
    Field("input", Kind.TEXT, _many_of_version(lambda version: [spec.name for spec in version.facts.inputs]),
          "name of any input", "input = image", many=True, names=("inputs",)),
    Field("output", Kind.TEXT, _many_of_version(lambda version: [spec.name for spec in version.facts.outputs]),
          "name of any output", "output:logits", many=True, names=("outputs",)),
    Field("input.dtype", Kind.TEXT, _many_of_version(lambda version: [spec.dtype for spec in version.facts.inputs]),
          "dtype of any input", "input.dtype = uint8", many=True, forms=dtype_forms),
    Field("output.dtype", Kind.TEXT, _many_of_version(lambda version: [spec.dtype for spec in version.facts.outputs]),
          "dtype of any output", "output.dtype != string", many=True, forms=dtype_forms),
    Field("opset", Kind.COUNT, _of_facts(lambda facts: facts.opsets.get("ai.onnx")),
          "opset of the default domain", "opset >= 17"),
    Field("ir", Kind.COUNT, _of_facts(lambda facts: facts.ir_version), "IR version of the file", "ir <= 9",
          names=("ir_version",)),
    Field("digest", Kind.PREFIX, _many_of_version(_digests), "sha256 of the artifact or any file, from its beginning",
          "digest = 3fa9c1", many=True, suggests=False, names=("sha256",)),
)  # fmt: skip


def _bench(name: str, kind: Kind, attribute: str, help_text: str, example: str, *names: str) -> CatalogField:
    return Field(f"bench.{name}", kind, _of_figures(attribute), help_text, example, source=FIGURES, names=names)


_BENCH_FIELDS: tuple[CatalogField, ...] = (
    Field("measured", Kind.FLAG, lambda row: row.figures is not None,
          "whether the latest version has a complete benchmark", "measured = false", source=FIGURES),
    *(
        _bench(f"{name}_ms", Kind.MILLISECONDS, f"{name}_ms", help_text, f"bench.{name}_ms < {limit}",
               f"{name}_ms", f"bench.{name}", *((name,) if name[0] == "p" else ()))
        for name, help_text, limit in (
            ("p50", "median latency in ms; us, s and min are allowed", "5"),
            ("p90", "90th percentile", "5ms"),
            ("p95", "95th percentile", "10"),
            ("p99", "99th percentile", "0.5s"),
            ("min", "shortest latency", "1"),
            ("max", "longest latency", "100"),
            ("mean", "mean latency", "5"),
        )
    ),
    _bench("throughput", Kind.RATE, "throughput_per_s", "items a second", "bench.throughput > 1k", "throughput"),
    _bench("rss", Kind.SIZE, "peak_rss_bytes", "peak memory", "bench.rss < 500MB", "rss"),
    _bench("cpu", Kind.PERCENT, "cpu_percent", "CPU load, 100 % is one core", "bench.cpu > 80%", "cpu"),
    _bench("noisy", Kind.FLAG, "noisy", "whether the machine was too busy to trust it", "bench.noisy = false"),
    _bench("n", Kind.COUNT, "n", "measured inferences", "bench.n >= 1000"),
    _bench("at", Kind.DATE, "created_at", "when it was measured", "bench.at < 30d"),
)  # fmt: skip


def _metadata_of(head: ModelHead, key: str) -> str | None:
    """What the latest version says, else the model."""
    latest = head.latest
    own = latest.metadata.get(key) if latest is not None else None
    return own if own is not None else head.metadata.get(key)


def _metadata(key: str) -> CatalogField:
    return Field(
        f"meta.{key}",
        Kind.ANY,
        lambda row: _metadata_of(row.head, key),
        "metadata by its key; numbers compare as numbers",
        "meta.accuracy > 0.9",
    )


def _occurs(word: str) -> Callable[[Row], bool]:
    """Whether a word occurs in the texts of a model or is one of its operators, with or without the domain.

    Operators match as whole words: else "res" would find every model that has a Reshape.
    """
    is_named = Verdicts(lambda op: op.casefold() == word or word in op_forms(op)).__getitem__

    def occurs(row: Row) -> bool:
        if word in row.text:
            return True
        for version in row.head.versions:  # noqa: SIM110 - any() over a generator takes twice as long
            if True in map(is_named, version.facts.op_types):
                return True
        return False

    return occurs


CATALOG_FIELDS: FieldTable[Row] = FieldTable(
    (*_MODEL_FIELDS, *_VERSION_FIELDS, *_BENCH_FIELDS), {"meta": _metadata, "metadata": _metadata}, _occurs
)
"""What a filter of the catalog can ask for."""

GROUPS: tuple[tuple[str, tuple[CatalogField, ...]], ...] = (
    ("The model", (*_MODEL_FIELDS, _metadata("KEY"))),
    ("Its latest version", _VERSION_FIELDS),
    ("The newest complete benchmark of that version", _BENCH_FIELDS),
)
"""The fields as documents show them."""
