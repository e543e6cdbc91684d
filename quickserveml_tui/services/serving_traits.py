"""How a model is best run: found by running it a few times when it is loaded."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.wire.datatypes import TensorType
from quickserveml_tui.wire.json_tensors import Array

Run: TypeAlias = Callable[[Mapping[str, Array], Sequence[str]], Sequence[Any]]

INLINE_NS = 300_000
"""Runs up to this stay in the event loop: a hop through a thread costs a fifth to a third of that."""
INLINE_TURN_NS = 2_000_000
"""Longest batch the event loop is held up for."""
MAX_BATCH = 64
LARGE_ELEMENTS = 100_000
"""Requests with more input elements run alone: copying them together costs more than it saves."""
WORKER_BATCH = 8
"""Beyond it a batch of a slow model gains nothing, and its first request waits for the rest."""
_NEAR = 1.02
"""Times per row, as multiples of the least, that a larger run of a slow model is not worth its wait for."""
_HOP_NS = 100_000
"""What a run in a thread costs beside the model under load: requests that share a run share that too."""
_WORKER_BUDGET_NS = 700_000_000
"""Time for finding out how many rows a slow model is best run on."""
_FREE_SIZES = (1, 16, 128)
_REPEATS = 5
_MAX_ELEMENTS = 2**26


@dataclass(frozen=True, slots=True)
class Traits:
    """How to run a model."""

    batchable: bool
    """Whether requests may share a run: the outputs of a row do not depend on its neighbours."""
    inline: bool
    """Whether a run is cheap enough for the event loop."""
    max_batch: int
    """Rows that one run may have when requests share it."""
    run_ns: int | None
    """Median time of one synthetic run; None where it could not be measured."""
    reason: str
    """Why requests do or do not share a run."""
    inline_elements: int = 0
    """Input elements of the largest run that stays in the event loop, where `inline` holds."""


def _row_shape(kind: TensorType, free: int) -> tuple[int, ...]:
    """One row: a free first dim is 1, other free dims are `free`."""
    if not kind.shape:
        return ()
    first, *rest = kind.shape
    return (1 if first == -1 else first, *(free if dim == -1 else dim for dim in rest))


def _row(kind: TensorType, free: int, rng: np.random.Generator, scale: float) -> Array:
    size = _row_shape(kind, free)
    match kind.dtype.kind:
        case "f":
            return np.asarray(rng.standard_normal(size) * scale).astype(kind.dtype)
        case "i" | "u":
            # Not 0: a model that divides by it would end the process.
            return np.asarray(rng.integers(1, 3, size)).astype(kind.dtype)
        case "b":
            return np.asarray(rng.integers(0, 2, size)).astype(bool)
        case "O":
            return np.full(size, "a", dtype=object)
        case _:
            return np.asarray(rng.standard_normal(size)).astype(kind.dtype)  # bfloat16


def _feeds(inputs: Sequence[TensorType], free: int, seed: int, scale: float) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {kind.name: _row(kind, free, rng, scale) for kind in inputs}


def _same(single: Array, batched: Array) -> bool:
    if single.shape != batched.shape or single.dtype != batched.dtype:
        return False
    if single.dtype.kind != "f":
        return bool(np.array_equal(single, batched))
    a, b = single.astype(np.float64), batched.astype(np.float64)
    finite = np.isfinite(a)
    if not np.array_equal(finite, np.isfinite(b)) or not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return False
    # Kernels for one row and for many sum in another order; anything beyond that is a neighbour's influence.
    scale = float(np.abs(a[finite]).max(initial=0.0))
    tolerance = 1e-5 if single.dtype.itemsize >= 4 else 2e-3
    return bool(np.allclose(a, b, rtol=tolerance, atol=tolerance * scale * 0.1 + 1e-12, equal_nan=True))


def _batch_obstacle(run: Run, inputs: Sequence[TensorType], outputs: Sequence[TensorType], free: int) -> str:
    """Why requests cannot share a run; empty when they can."""
    if not inputs or any(not kind.shape or kind.shape[0] != -1 for kind in inputs):
        return "an input has no free first dimension"
    if any(not kind.shape or kind.shape[0] != -1 for kind in outputs):
        return "an output has no free first dimension"
    names = [kind.name for kind in outputs]
    # Tame, huge and vanishing neighbours: quantisation over the whole batch shows only beside an extreme row.
    rows = [_feeds(inputs, free, seed, scale) for seed, scale in enumerate((1.0, 1.0, 1e4, 1e-3))]
    singles = [run(row, names) for row in rows]
    for order in ((0, 1), (0, 2, 3, 1), (3, 2, 1, 0)):
        feeds = {kind.name: np.concatenate([rows[index][kind.name] for index in order]) for kind in inputs}
        batched = run(feeds, names)
        for position, index in enumerate(order):
            for single, whole in zip(singles[index], batched, strict=True):
                if whole.shape[:1] != (len(order),) or not _same(single, whole[position : position + 1]):
                    return "a row's outputs change with its neighbours"
    return ""


def _median_ns(run: Run, feeds: Mapping[str, Array], names: Sequence[str]) -> int:
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter_ns()
        run(feeds, names)
        times.append(time.perf_counter_ns() - start)
    return sorted(times)[_REPEATS // 2]


def measure_traits(run: Run, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> Traits:
    """Traits of a model by a dozen synthetic runs; it is warm afterwards.

    A model that refuses synthetic inputs runs in a thread, one request at a time.
    """
    names = [kind.name for kind in outputs]
    for free in _FREE_SIZES:
        elements = sum(math.prod(_row_shape(kind, free)) for kind in inputs)
        if elements > _MAX_ELEMENTS:
            break
        feeds = _feeds(inputs, free, 0, 1.0)
        try:
            run(feeds, names)
        except QuickServeError:
            continue
        run_ns = _median_ns(run, feeds, names)
        try:
            large = elements > LARGE_ELEMENTS
            obstacle = "its rows are too large" if large else _batch_obstacle(run, inputs, outputs, free)
        except QuickServeError:
            obstacle = "a batch of synthetic rows fails"
        return _traits(run, names, _feeds(inputs, free, 0, 1.0), run_ns, obstacle)
    return Traits(False, False, 1, None, "it could not be tried on synthetic inputs")


def _traits(run: Run, names: Sequence[str], row: Mapping[str, Array], run_ns: int, obstacle: str) -> Traits:
    inline = run_ns <= INLINE_NS
    elements = max(sum(array.size for array in row.values()), 1)
    if obstacle:
        return Traits(False, inline, 1, run_ns, obstacle, _inline_elements(elements, run_ns))
    if not inline:
        rows = _worker_rows(run, names, row, run_ns)
        reason = "rows do not depend on each other" if rows > 1 else "a shared run takes no less time per row"
        return Traits(True, False, rows, run_ns, reason)
    most = min(MAX_BATCH, max(LARGE_ELEMENTS // elements, 1))
    full = {name: np.concatenate([array] * most) for name, array in row.items()}
    per_row = max(_median_ns(run, full, names) / most, 1.0)
    rows = min(most, 2 ** int(math.log2(max(INLINE_TURN_NS / per_row, 1.0))))
    return Traits(True, True, rows, run_ns, "rows do not depend on each other", _inline_elements(elements, per_row))


def _worker_rows(run: Run, names: Sequence[str], row: Mapping[str, Array], run_ns: int) -> int:
    """Rows of the run that takes the least time per row, its hop included; the smaller one where there is little
    between them.

    Sizes take turns, and the fastest run of each counts, so a busy machine disturbs all of them alike. What is too slow
    for that is judged by the sizes that were tried.
    """
    sizes = [2**power for power in range(WORKER_BATCH.bit_length())]
    fastest = {1: float(run_ns)}
    end = time.perf_counter_ns() + _WORKER_BUDGET_NS
    for size in sizes * _REPEATS:
        start = time.perf_counter_ns()
        if start + size * fastest[1] > end:
            break
        try:
            run({name: np.concatenate([array] * size) for name, array in row.items()}, names)
        except QuickServeError:
            return max(fastest) // 2 or 1
        fastest[size] = min(fastest.get(size, math.inf), (time.perf_counter_ns() - start) / size)
    costs = {size: took + _HOP_NS / size for size, took in fastest.items()}
    best = min(size for size, cost in costs.items() if cost <= min(costs.values()) * _NEAR)
    unknown = len(fastest) < len(sizes)
    return WORKER_BATCH if unknown and best == max(fastest) else best


def _inline_elements(elements: int, took_ns: float) -> int:
    """Elements that take as long as the event loop may be held up, if `elements` take `took_ns`."""
    return int(elements * INLINE_TURN_NS / max(took_ns, 1.0))
