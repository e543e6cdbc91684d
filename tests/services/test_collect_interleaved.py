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
    # What the lot leaves out in one run, it brings in another: each kind must have happened between collections.
    kinds = ("add", "delete", "restore", "purge", "open", "collect", "blobs collected")
    done = run(CollectMachine, max_examples=40)
    for _ in range(10):
        if all(done[what] for what in kinds):
            break
        done += run(CollectMachine, max_examples=20)
    assert all(done[what] for what in kinds), done


class WithoutPublishing(CollectMachine):
    """The same with a store that lets collections in between a blob and what names it."""

    def open_artifacts(self):
        store = super().open_artifacts()
        store._locks.publishing = lambda **_options: nullcontext()
        return store


def test_without_publishing_the_same_test_finds_missing_blobs():
    with pytest.raises(AssertionError):
        run(WithoutPublishing, max_examples=200, database=None, derandomize=True, phases=[Phase.generate])
