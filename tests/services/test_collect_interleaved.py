"""Add, delete, restore, purge, measure and collect in any order: no manifest ever references a missing blob."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext

import pytest
from collect_machine import CollectMachine
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test


def run(machine, **options):
    machine.done = Counter()
    run_state_machine_as_test(
        machine,
        settings=settings(stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), **options),
    )
    return machine.done


def test_no_model_trash_entry_or_run_ever_names_a_missing_blob():
    done = run(CollectMachine, max_examples=40)
    for what in ("add", "delete", "restore", "purge", "open", "collect", "blobs collected"):
        assert done[what] > 0, done


class WithoutPublishing(CollectMachine):
    """The same with a store that lets collections in between a blob and what names it."""

    def open_artifacts(self):
        store = super().open_artifacts()
        store._locks.publishing = lambda **_options: nullcontext()
        return store


def test_without_publishing_the_same_test_finds_missing_blobs():
    with pytest.raises(AssertionError):
        run(WithoutPublishing, max_examples=200, database=None, derandomize=True, phases=[Phase.generate])
