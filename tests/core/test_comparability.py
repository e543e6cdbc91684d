"""Stored runs are held against each other only where machine and settings agree, and it is said why not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quickserveml_tui.core.benchmarks import (
    BenchmarkRun,
    BenchmarkSpec,
    BenchmarkSummary,
    Fingerprint,
    HistogramData,
    LatencySummary,
)
from quickserveml_tui.core.comparability import configuration, describe_settings, differences, why_not
from quickserveml_tui.core.feeds import FeedSpec

FINGERPRINT = Fingerprint("d" * 64, "A CPU", 8, 16 * 2**30, "Linux 6", "CPython 3.12", "onnxruntime 1.30", "CPU")
SUMMARY = BenchmarkSummary(
    1, 0, LatencySummary(1, 1, 1, 1, 1, 1, 1, 0), {}, 1000.0, 1.0, None, None, False, "", True, HistogramData((), ())
)
RUN = BenchmarkRun("b", "net@1", "m", 1, "2026-01-01T00:00:00.000Z", BenchmarkSpec(), SUMMARY, FINGERPRINT)


def with_machine(**changes):
    return replace(RUN, fingerprint=replace(FINGERPRINT, **changes))


def with_spec(**changes):
    return replace(RUN, spec=replace(RUN.spec, **changes))


@pytest.mark.parametrize("other", [
    replace(RUN, id="c", version=2), with_machine(model_digest="e" * 64), with_machine(load_before=3.0),
    with_machine(memory_bytes=16 * 2**30 - 40_000_000), with_machine(version="9"), with_machine(python="CPython 3.13"),
    with_spec(duration_s=99.0), with_spec(max_runs=5), with_spec(warmup_s=3.0), with_spec(verify=False),
])  # fmt: skip
def test_what_does_not_change_the_figure_keeps_nobody_apart(other):
    assert why_not(RUN, other) == ""
    assert configuration(RUN) == configuration(other)


@pytest.mark.parametrize(("other", "words"), [
    (with_machine(cpu="B CPU"), "The processor differs: A CPU and B CPU."),
    (with_machine(cores=4), "The number of cores differs: 8 and 4."),
    (with_machine(runtime="onnxruntime 1.31"), "The runtime differs: onnxruntime 1.30 and onnxruntime 1.31."),
    (with_machine(governor="powersave"), "The frequency governor differs: none and powersave."),
    (with_machine(pinned_cpus=(7,)), "no cores of their own and cores of their own"),
    (with_spec(intra_op_threads=4), "Intra-op threads differ: 1 and 4."),
    (with_spec(spinning=True), "Spinning differs: off and on."),
    (with_spec(feed=FeedSpec(batch=8)), "The inputs differ: as the model says and --batch 8."),
])  # fmt: skip
def test_what_changes_the_figure_is_named(other, words):
    assert words in why_not(RUN, other)
    assert configuration(RUN) != configuration(other)


def test_many_differences_are_counted():
    other = with_machine(cpu="B", cores=2, os="Linux 5")
    assert why_not(RUN, other) == "The processor differs: A CPU and B. 2 more conditions differ."
    assert [found.name for found in differences(RUN, other)][:2] == ["the processor", "the number of cores"]


def test_settings_are_described_by_what_is_not_usual():
    assert describe_settings(RUN.spec) == ""
    spec = replace(RUN.spec, intra_op_threads=2, feed=FeedSpec(batch=4))
    assert describe_settings(spec) == "intra-op threads 2, inputs --batch 4"
