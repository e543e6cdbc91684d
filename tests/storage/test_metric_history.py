"""Figures over time lose nothing: neither of long questions nor of versions that go and come back."""

from __future__ import annotations

from types import SimpleNamespace

from reference_state import MemoryState

from quickserveml_tui.core.metric_history import RollUp
from quickserveml_tui.core.monitoring import ModelSnapshot
from quickserveml_tui.services.metric_history import MetricHistoryService, MetricRecorder

NOW = 1_800_000_000 - 1_800_000_000 % 3600
UNREGISTERED = SimpleNamespace(find=lambda _name: None)


def history():
    return MetricHistoryService(MemoryState(), UNREGISTERED)


def test_a_question_over_many_versions_answers_with_the_newest_and_the_oldest():
    kept = history()
    minutes, versions = 1_050, 100
    kept.record(
        [
            RollUp("m", str(version), NOW + 60 * minute, 60, {"200": 1})
            for minute in range(minutes)
            for version in range(versions)
        ]
    )
    found = kept.read("m", step_s=3600)
    assert sum(item.requests for item in found) == minutes * versions
    assert (found[0].at, found[-1].at) == (NOW, NOW + 60 * (minutes - minutes % 60))


def test_a_version_that_is_unloaded_for_a_while_is_not_counted_twice():
    kept = history()

    def counted(count):
        return (ModelSnapshot("m", "1", codes={"200": count}, inferences=count),)

    taken = iter([counted(0), counted(100), (), counted(101)])
    recorder = MetricRecorder(kept, lambda: next(taken))
    for minute in range(1, 4):
        recorder.tick(NOW + 60 * minute)
    assert [(item.at - NOW, item.requests) for item in kept.read("m")] == [(0, 100), (120, 1)]
