"""Runners that take turns: every side runs in every round, on the same cores, and a cancel loses no whole round."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from measured_models import endless, relu

from quickserveml_tui.core.benchmarks import BenchmarkSpec
from quickserveml_tui.core.comparing import ComparisonSpec
from quickserveml_tui.core.errors import ModelError, RunnerCrashedError, UsageError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.runtime.pool import LocalRunnerPool
from quickserveml_tui.runtime.turns import Contestant, take_turns

SHORT = ComparisonSpec(duration_s=0.2, block_s=0.005, generations=2, warmup_s=0.01)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    found = LocalRunnerPool(tmp_path_factory.mktemp("logs"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return relu(tmp_path_factory.mktemp("models") / "relu.onnx")


class Heard:
    """What a comparison said on the way; ends or stops it when `act` says so."""

    def __init__(self, act=lambda turns: False):
        self.phases, self.rounds, self.act = [], 0, act

    def on_phase(self, phase, process):
        self.phases.append((phase, process))

    def on_round(self, turns):
        self.rounds += 1
        return self.act(turns)


def compare(pool, paths, heard, cancel=None, spec=SHORT):
    sides = [Contestant(path, BenchmarkSpec()) for path in paths]
    return take_turns(
        pool, sides, spec, on_phase=heard.on_phase, on_round=heard.on_round, cancel=cancel or CancelToken()
    )


def test_every_side_runs_in_every_round_in_each_of_its_processes(pool, model):
    heard = Heard()
    turns = compare(pool, [model, model, model], heard)
    assert heard.phases == [("loading", 0), ("measuring", 0), ("loading", 1), ("measuring", 1)]
    assert len(turns.medians_ms) == len(turns.processes) == heard.rounds > 4
    assert {len(row) for row in turns.medians_ms} == {3}
    assert sorted(set(turns.processes)) == [0, 1]
    assert turns.processes == sorted(turns.processes)
    assert not turns.cancelled
    assert turns.measured_s >= 0.2
    for place, side in enumerate(turns.sides):
        assert len(side.latencies_ms) == heard.rounds
        assert [float(np.median(block)) for block in side.latencies_ms] == [row[place] for row in turns.medians_ms]
        assert side.busy_s > 0.05
        assert side.peak_rss_bytes > 1e6


def test_what_listens_can_end_it(pool, model):
    turns = compare(pool, [model, model], Heard(lambda turns: len(turns.medians_ms) == 3))
    assert (len(turns.medians_ms), turns.cancelled) == (3, False)


def test_a_cancel_keeps_the_whole_rounds(pool, model):
    token = CancelToken()
    turns = compare(pool, [model, model], Heard(lambda turns: len(turns.medians_ms) == 4 and token.cancel()), token)
    assert turns.cancelled
    assert len(turns.medians_ms) == len(turns.processes) == len(turns.sides[0].latencies_ms) == 4


def test_a_cancel_within_an_inference_that_never_ends_comes_back(pool, model, tmp_path):
    token = CancelToken()
    timer = threading.Timer(1.0, token.cancel)  # whether it is loading or measuring by then: it comes back
    timer.start()
    turns = compare(pool, [model, endless(tmp_path / "endless.onnx")], Heard(), token)
    assert turns.cancelled
    assert turns.medians_ms == []


class Noted:
    """A pool that tells the process ids of its fresh runners."""

    def __init__(self, pool):
        self.pool, self.pids = pool, []

    @contextmanager
    def fresh(self):
        with self.pool.fresh() as runner:
            self.pids.append(runner.pid)
            yield runner


def test_a_runner_that_dies_ends_it_with_its_name(pool, model):
    noted = Noted(pool)

    def kill(turns):
        if len(turns.medians_ms) == 2:
            os.kill(noted.pids[1], signal.SIGKILL)
        return False

    with pytest.raises(RunnerCrashedError):
        compare(noted, [model, model], Heard(kill))


def test_a_model_that_cannot_be_loaded_is_told_before_anything_is_measured(pool, model, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    heard = Heard()
    with pytest.raises(ModelError):
        compare(pool, [model, broken], heard)
    assert heard.rounds == 0


def test_a_block_needs_a_prepared_model(pool):
    with pool.fresh() as runner, pytest.raises(UsageError):
        runner.measure_block(0.01, cancel=CancelToken())
