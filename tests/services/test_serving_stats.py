"""Counters of served models: shared between processes, kept over a crash, read while they are written."""

import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import quickserveml_tui
from quickserveml_tui.core.monitoring import SlowRequest
from quickserveml_tui.services.serving_stats import LATENCY_BOUNDS_S, SLOTS, Counters, ModelStats

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(quickserveml_tui.__file__).parent.parent)}
MS = 1_000_000


def in_another_process(code: str, *args) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys\nfrom quickserveml_tui.services.serving_stats import *\n{code}", *args],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "worker-0"


def test_another_process_reads_what_one_counts(path):
    with in_another_process(
        "c = Counters.create(__import__('pathlib').Path(sys.argv[1]))\n"
        "c.pid, c.revision, c.ready, c.connections, c.requests, c.started = 42, 7, True, 3, 9, 1234.5\n"
        "s = c.model(5); s.answered(200, 2_000_000); s.answered(503, 10); s.ran(4, 8, 1_000_000); s.reject()\n"
        "s.pending = 6; s.cache_hit(); s.cache_miss(); s.cache_miss()\n",
        str(path),
    ) as child:
        assert child.wait(30) == 0
    counters = Counters.open(path)
    assert (counters.pid, counters.revision, counters.ready, counters.connections) == (42, 7, True, 3)
    assert (counters.requests, counters.started) == (9, 1234.5)
    stats = counters.model(5)
    assert stats.codes == {200: 1, 503: 1}
    assert (stats.succeeded, stats.failed, stats.failed_ns) == (1, 1, 10)
    assert (stats.items, stats.batch.count, stats.compute.count, stats.pending) == (8, 1, 4, 6)
    assert (stats.rejected, stats.cache_hits, stats.cache_misses) == (1, 1, 2)
    assert counters.model(4).codes == {}


def test_readers_cannot_write(path):
    Counters.create(path)
    with pytest.raises(TypeError):
        Counters.open(path).model(0).reject()


def test_the_successor_of_a_killed_worker_goes_on_counting_and_knows_the_culprit(path):
    child = in_another_process(
        "c = Counters.create(__import__('pathlib').Path(sys.argv[1]))\n"
        "c.model(3).answered(200, 1000); c.model(3).pending = 2; c.connections = 5\n"
        "c.begin_load(9); c.end_load(9); c.begin_run(2); c.begin_run(3); c.begin_run(4); c.end_run(4)\n"
        "print('there', flush=True); sys.stdin.read() if 0 else __import__('signal').pause()\n",
        str(path),
    )
    assert child.stdout.readline() == b"there\n"
    child.send_signal(signal.SIGKILL)
    child.wait(30)
    child.stdout.close()
    counters = Counters.create(path)
    assert counters.running == (3, 2)
    assert counters.loading == ()
    assert counters.culprit == 3
    counters.reset_gauges()
    assert (counters.running, counters.culprit, counters.connections) == ((), None, 0)
    assert counters.model(3).pending == 0
    counters.model(3).answered(200, 1000)
    assert counters.model(3).succeeded == 2


def test_a_load_that_takes_the_worker_down_is_the_culprit_before_older_runs():
    counters = Counters.create(None)
    counters.begin_run(1)
    counters.begin_load(8)
    assert counters.culprit == 8
    counters.end_load()
    assert counters.culprit == 1


def test_a_file_that_holds_no_counters_begins_anew_and_is_not_cut_under_its_readers(path):
    path.write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match="no counters"):
        Counters.open(path)
    counters = Counters.create(path)
    counters.model(0).reject()
    assert Counters.open(path).model(0).rejected == 1
    assert [item.name for item in path.parent.iterdir()] == [path.name]
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o777 == 0o600


def test_slots_are_apart_and_a_cleared_one_starts_anew():
    counters = Counters.create(None)
    for slot in (0, 1, SLOTS - 1):
        counters.model(slot).answered(200, MS)
    counters.clear_slot(1)
    assert [counters.model(slot).succeeded for slot in (0, 1, SLOTS - 1)] == [1, 0, 1]
    assert counters.model(1).latency.count == 0
    for slot in (-1, SLOTS):
        with pytest.raises(ValueError, match="slot"):
            counters.model(slot)


def percentile(stats: ModelStats, share: float) -> float:
    found = stats.latency.distribution()
    left = share * found.count
    for bound, count in zip(found.bounds, found.counts, strict=False):
        left -= count
        if left <= 0:
            return bound
    return float("inf")


@pytest.mark.parametrize("centre_s", [0.00002, 0.0004, 0.013, 0.9, 20.0])
def test_percentiles_are_within_a_tenth_from_microseconds_to_a_minute(centre_s):
    rng = random.Random(1)
    values = sorted(min(centre_s * rng.lognormvariate(0, 0.3), 59.0) for _ in range(5000))
    stats = ModelStats()
    for value in values:
        stats.answered(200, int(value * 1e9))
    for share in (0.5, 0.9, 0.99, 0.999):
        true = values[int(share * len(values)) - 1]
        assert true <= percentile(stats, share) + 1e-9
        assert percentile(stats, share) <= max(true * 1.1, LATENCY_BOUNDS_S[0]) + 1e-9


def test_coarse_buckets_count_exactly():
    stats = ModelStats()
    for elapsed in (1, 500_000, 500_001, 10_000_000_000, 10_000_000_001):
        stats.answered(200, elapsed)
    counts = stats.request.cumulative()
    assert (counts[0], counts[1], counts[-2], counts[-1]) == (2, 3, 4, 5)
    assert stats.request.total == 20_001_000_003
    assert stats.request.count == 5


def test_counting_a_whole_batch_is_counting_one_by_one():
    one, whole = ModelStats(), ModelStats()
    arrivals = [0, 100, 5 * MS, 7 * MS]
    for arrived in arrivals:
        one.answered(200, 9 * MS - arrived)
        one.queue.add(8 * MS - arrived)
    whole.succeeded_at(arrivals, 9 * MS)
    whole.waited_until(arrivals, 8 * MS)
    whole.waited_until([1, 2], 3)
    one.queue.add(2)
    one.queue.add(1)
    assert one.snapshot("m", "1") == whole.snapshot("m", "1")


def test_unusual_answers_count_as_the_first_of_their_hundred():
    stats = ModelStats()
    for code in (418, 599, 404, 200):
        stats.answered(code, 1)
    assert stats.codes == {200: 1, 400: 1, 404: 1, 500: 1}


def slow(elapsed_s: float, at: float = 1000.0, **more) -> SlowRequest:
    return SlowRequest(at=at, model="m", version="2", elapsed_s=elapsed_s, **more)


def test_the_slowest_requests_are_kept_and_leave_after_five_minutes(path):
    counters = Counters.create(path)
    for tenth in range(100):
        counters.note_slow(slow(tenth / 10))
    kept = Counters.open(path).slow(1000.0)
    assert [request.elapsed_s for request in kept] == [tenth / 10 for tenth in range(99, 67, -1)]
    assert counters.slow_requests.floor == pytest.approx(6.8e9)
    counters.note_slow(slow(1.0, at=1301.0))
    assert [request.elapsed_s for request in counters.slow(1301.0)] == [1.0]
    assert counters.slow_requests.floor == 0


def test_a_slow_request_is_kept_with_all_that_is_known_of_it():
    counters = Counters.create(None)
    whole = slow(2.5, queue_s=0.5, compute_s=2.0, status=504, rows=3, batch=8, request_id="é" * 64)
    counters.note_slow(whole)
    assert counters.slow(1000.0) == (whole,)
    counters.note_slow(replace(whole, elapsed_s=9.0, request_id="é" * 900))
    assert len(counters.slow(1000.0)[0].request_id) >= 64


def test_reading_while_another_process_writes_never_fails(path):
    child = in_another_process(
        "c = Counters.create(__import__('pathlib').Path(sys.argv[1])); s = c.model(0)\n"
        "from quickserveml_tui.core.monitoring import SlowRequest\n"
        "print('there', flush=True); i = 0\n"
        "while True:\n"
        "    i += 1; s.answered(200, i * 997 % 10**9); s.answered(400 + i % 200, i); s.pending = i % 9; s.ran(3, 3, i)\n"
        "    c.note_slow(SlowRequest(1e9 + i, 'model' * (i % 9), '1', i / 1e3, request_id='r' * (i % 99)))\n",
        str(path),
    )
    try:
        child.stdout.readline()
        counters = Counters.open(path)
        before = 0
        for _ in range(300):
            snapshot = counters.model(0).snapshot("m", "1")
            assert snapshot.codes.get("200", 0) >= before
            before = snapshot.codes.get("200", 0)
            for request in counters.slow(1e9):
                assert request.model == "model" * (len(request.model) // 5)
                assert set(request.request_id) <= {"r"}
        assert before > 0
    finally:
        child.kill()
        child.wait(30)
        child.stdout.close()


def test_closed_counters_let_go_of_their_file(path):
    counters = Counters.create(path)
    counters.model(0).reject()
    counters.close()
    path.unlink()


def test_runs_count_by_their_rows_and_times_once_for_each_request():
    stats = ModelStats()
    stats.ran(1, 1, 100, 0, 7)
    stats.ran(1, 0, 50, 0, 3, 1)  # a request that failed was a run, too
    stats.ran(3, 6, 1000, 20, 30)
    for rows in (64, 65, 128, 129, 2**20, 2**30):
        stats.ran(1, rows, 1, 0, 0)
    found = [tuple(size) for size in stats.sizes]
    assert found[:2] == [(1, 2, 0, 150, 10), (6, 1, 20, 1000, 30)]
    assert [(size.rows, size.runs) for size in stats.sizes[2:]] == [(64, 1), (128, 2), (256, 1), (2**20, 2)]
    assert (stats.input_ns, stats.output_ns) == (60, 100)
    assert sum(size.runs for size in stats.sizes) == stats.batch.count
