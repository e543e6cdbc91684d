from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from quickserveml_tui.runtime import calls, host
from quickserveml_tui.runtime.cores import Cores
from quickserveml_tui.runtime.limits import FLOOR_BYTES, memory_cap_bytes


def test_signals_are_named_for_people():
    assert host.signal_name(8) == "SIGFPE"
    assert host.signal_name(77) == "signal 77"
    assert host.describe_signal("SIGFPE") == "SIGFPE, arithmetic error"
    assert host.describe_signal("SIGUSR1") == "SIGUSR1"


def test_the_sampler_reads_memory_and_cpu_time_of_another_process():
    code = "import sys\nx = bytearray(50_000_000)\nfor i in range(3_000_000): pass\nprint(flush=True)\nsys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with host.ProcessSampler(child.pid) as sampler:
        child.stdout.readline()
        memory = sampler.memory()
        assert memory.rss_bytes > memory.anon_bytes > 50_000_000
        assert sampler.cpu_s() > 0
        child.communicate()
        assert sampler.memory() is None
        assert sampler.cpu_s() is None


def test_the_machine_is_described():
    status = host.host_status()
    assert status.cores == len(host.available_cpus()) >= 1
    assert 0 < status.memory_available_bytes <= status.memory_total_bytes
    assert host.cpu_model()


def test_the_memory_cap_grows_with_the_model_and_stays_below_the_machine(tmp_path):
    small, large = tmp_path / "a.onnx", tmp_path / "b.onnx"
    small.write_bytes(b"x")
    with large.open("wb") as file:
        file.truncate(1 << 20)
    bound = int(0.8 * host.total_memory_bytes())
    assert memory_cap_bytes(small) == min(FLOOR_BYTES + 4, bound)
    assert memory_cap_bytes(large) == min(FLOOR_BYTES + (4 << 20), bound)
    with large.open("wb") as file:
        file.truncate(1 << 40)
    small.write_bytes(b"\x0a\x08location")
    assert memory_cap_bytes(small) == bound


@pytest.mark.skipif(not host.CAN_PIN or len(host.available_cpus()) < 2, reason="needs two cores that can be bound")
def test_cores_are_leased_once_and_this_program_keeps_the_rest():
    before, cores = os.sched_getaffinity(0), Cores()
    with cores.lease(1) as first:
        assert first == (max(before),)
        assert os.sched_getaffinity(0) == before - set(first)
        with cores.lease(len(before) - 1) as second:
            assert second == ()
    with cores.lease(len(before)) as all_of_them:
        assert all_of_them == ()
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(
    "value",
    [
        [{"a": 0.5, "b": 1.0}, {1: 2.0}],
        [np.arange(6, dtype=np.int16).reshape(2, 3), np.array("scalar", dtype=object)],
        {"nested": [np.float32(1.5), None, "text", True]},
        np.zeros((0, 3), np.float64),
    ],
)
def test_packed_values_come_back_equal(value):
    back = calls.unpack(calls.pack(value))
    assert type(back) is type(value)
    np.testing.assert_equal(back, value)
