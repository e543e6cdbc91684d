"""How many rows a slow model is run on at once: by what its runs take, within bounds of time."""

from __future__ import annotations

import numpy as np
import pytest

from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.services import serving_traits
from quickserveml_tui.services.serving_traits import WORKER_BATCH, measure_traits
from quickserveml_tui.wire.datatypes import TensorType

KIND = TensorType("x", "FP32", np.dtype(np.float32), (-1, 4))
MS = 1_000_000


class Model:
    """A model whose runs move a clock: `cost` gives the milliseconds for a number of rows."""

    def __init__(self, cost, most=64):
        self.cost, self.most = cost, most
        self.now = 0
        self.sizes = []

    def run(self, feeds, _names):
        rows = len(feeds["x"])
        self.sizes.append(rows)
        if rows > self.most:
            raise QuickServeError("The runtime refuses so many rows.")
        self.now += int(self.cost(rows) * MS)
        return [feeds["x"] * 2]


@pytest.mark.parametrize(("cost", "rows"), [
    (lambda rows: 5.0 * rows, 1),  # a row costs the same in any company
    (lambda rows: 1.5 * rows, 4),  # the same, but so little that the way to the thread and back counts
    (lambda rows: 2.0 * rows * (1.1 if rows > 2 else 0.8 if rows == 2 else 1), 2),  # what a cache holds
    (lambda rows: 5.0 + rows, WORKER_BATCH),  # weights are read once for all
    (lambda rows: 150.0 + rows, WORKER_BATCH),  # the same, too slow to try all sizes
    (lambda rows: 150.0 * rows, 1),
    (lambda _rows: 1500.0, WORKER_BATCH),  # too slow to try any: as it may pay
])  # fmt: skip
def test_slow_models_run_on_as_many_rows_as_pay(monkeypatch, cost, rows):
    model = Model(cost)
    monkeypatch.setattr(serving_traits.time, "perf_counter_ns", lambda: model.now)
    traits = measure_traits(model.run, [KIND], [KIND])
    assert (traits.batchable, traits.inline, traits.max_batch) == (True, False, rows)


def test_a_size_that_the_runtime_refuses_is_not_used(monkeypatch):
    model = Model(lambda rows: 5.0 + rows, most=4)
    monkeypatch.setattr(serving_traits.time, "perf_counter_ns", lambda: model.now)
    assert measure_traits(model.run, [KIND], [KIND]).max_batch <= 4


def test_finding_out_ends_in_time(monkeypatch):
    model = Model(lambda rows: 100.0 * rows)
    monkeypatch.setattr(serving_traits.time, "perf_counter_ns", lambda: model.now)
    measure_traits(model.run, [KIND], [KIND])
    tried = model.sizes[model.sizes.index(4, model.sizes.index(4) + 1) + 1 :]  # after the look at neighbours
    assert sum(tried) * 100.0 <= 700.0
