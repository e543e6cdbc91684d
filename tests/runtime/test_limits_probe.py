"""The limits are what the runtime does, not what anybody says."""

from __future__ import annotations

import onnxruntime
import pytest

from quickserveml_tui.runtime.compatibility import FAR, newest_taken, probe_limits, refusal

LIMITS = probe_limits()


def test_the_newest_number_of_each_domain_loads_and_the_next_does_not():
    assert {"ai.onnx", "ai.onnx.ml"} <= set(LIMITS.opsets)
    for domain, newest in LIMITS.opsets.items():
        assert refusal(domain, newest, 8) is None, domain
        assert refusal(domain, newest + 1, 8) is not None, domain


def test_every_opset_around_the_limit_is_as_the_limit_says():
    newest = LIMITS.opsets["ai.onnx"]
    taken = [number for number in range(7, newest + 6) if refusal("ai.onnx", number, 8) is None]
    assert taken == list(range(7, newest + 1))


def test_every_ir_version_around_the_limit_is_as_the_limit_says():
    taken = [number for number in range(3, LIMITS.ir_version + 6) if refusal("ai.onnx", 13, number) is None]
    assert taken == list(range(3, LIMITS.ir_version + 1))


def test_a_domain_that_the_runtime_does_not_know_has_no_limit():
    assert newest_taken(lambda number: refusal("com.example", number, 8)) is None


def test_the_runtime_is_named():
    assert LIMITS.runtime == f"onnxruntime {onnxruntime.__version__}"


@pytest.mark.parametrize("bound", [1, 2, 7, 26, 63, 64, 1000])
@pytest.mark.parametrize("said", ["till opset {bound}.", "no reason", "till opset 9999.", "till opset 3."])
def test_the_bound_is_found_whatever_the_refusal_says(bound, said):
    tries = []

    def refuse(number):
        tries.append(number)
        return None if number <= bound else said.format(bound=bound)

    assert newest_taken(refuse) == bound
    assert len(tries) < 110


def test_a_truthful_refusal_needs_three_tries():
    tries = []

    def refuse(number):
        tries.append(number)
        return None if number <= 26 else "max supported IR version: 26"

    assert newest_taken(refuse) == 26
    assert tries == [FAR, 26, 27]


def test_a_runtime_that_takes_nothing_or_everything_is_told_apart():
    assert newest_taken(lambda _number: "broken") == 0
    assert newest_taken(lambda _number: None) is None
