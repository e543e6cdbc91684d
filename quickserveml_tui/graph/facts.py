"""Read the facts of a model file without running it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

from quickserveml_tui.core.facts import ModelFacts
from quickserveml_tui.graph import shapes
from quickserveml_tui.graph.analysis import Reading, read_sound_model
from quickserveml_tui.graph.findings import MAX_WARNINGS, find_problems
from quickserveml_tui.graph.macs import qualified_name, total_macs
from quickserveml_tui.graph.reading import read_model
from quickserveml_tui.graph.scopes import Operator, build_scopes, count_operators
from quickserveml_tui.graph.stand_ins import stand_in_for_uninferred
from quickserveml_tui.graph.values import clip, read_signature, read_texts
from quickserveml_tui.graph.weights import count_weights

MAX_OP_TYPES = 2_000


def read_facts(path: Path) -> ModelFacts:
    """Facts of the model at `path`; field docs are in `ModelFacts`.

    Raises `ModelError` as `read_model` and `external_files` do, and `model.no_graph`, `model.no_outputs`,
    `model.broken`, `model.bad_tensor` and `model.too_large` for content that no runtime could use. Texts from the file
    are clipped, but not cleaned: pass them through `safe_text()` where they are shown.
    """
    reading = read_sound_model(path)
    totals, is_bounded = _totals(reading), reading.expansion.bounded
    del reading  # what follows takes memory of its own
    macs, finding = _work(path) if is_bounded else (None, "")
    return replace(totals, macs=macs, warnings=(*totals.warnings, *[finding] * bool(finding)))


def read_totals(path: Path) -> ModelFacts:
    """Facts without what needs shape inference and the checker: `macs` is None, and the checker's finding is missing.

    Seven times as fast as `read_facts` on large graphs. Raises as that does.
    """
    return _totals(read_sound_model(path))


def _totals(reading: Reading) -> ModelFacts:
    model = reading.model
    inputs, outputs = read_signature(model)
    operators = count_operators(reading.main)
    weights: Counter[str] = Counter()
    for scope in (reading.main, *reading.functions):
        weights += count_weights(scope)
    return ModelFacts(
        ir_version=model.ir_version,
        inputs=inputs,
        outputs=outputs,
        nodes=operators.total(),
        params=sum(weights.values()),
        macs=None,
        size_bytes=reading.file.file_bytes + reading.external_bytes,
        weight_dtypes=dict(weights.most_common()),
        op_types=_histogram(operators),
        functions=len(model.functions),
        warnings=tuple(islice(find_problems(reading, operators), MAX_WARNINGS - 1)),
        **read_texts(model),
    )


def _histogram(operators: Counter[Operator]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for (domain, op), count in operators.items():
        counts[clip(qualified_name(domain, op))] += count
    return dict(counts.most_common(MAX_OP_TYPES))


def _work(path: Path) -> tuple[int | None, str]:
    """Multiply-adds at batch 1, and the checker's finding."""
    finding, fixed = _prepare(path)
    if fixed is None:
        return None, finding
    scope, _ = build_scopes(shapes.infer(fixed))
    return total_macs(scope), finding


def _prepare(path: Path) -> tuple[str, bytes | None]:
    """The checker's finding, and the serialised skeleton at batch 1 where inference may have it."""
    skeleton = shapes.make_skeleton(read_model(path))
    if not shapes.is_small_enough(skeleton):
        return "The graph is too large for the checker and for shape inference.", None
    finding = shapes.checker_findings(skeleton)
    finding = finding and f"Checker: {finding}"
    expanded = shapes.expand_functions(skeleton) if skeleton.functions else skeleton
    if expanded is skeleton and skeleton.functions:
        return finding, None
    return finding, shapes.fix_batch(stand_in_for_uninferred(expanded)).SerializeToString()
