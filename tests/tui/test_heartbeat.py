from __future__ import annotations

import asyncio
import time

import pytest

from quickserveml_tui.tui.heartbeat import AFTERMATH, KEPT, PERIOD_S, Heartbeat, Pulse


async def beats(heart: Heartbeat, count: int) -> None:
    end = time.monotonic() + 30
    while heart.pulse.beats < count:
        assert time.monotonic() < end, heart.pulse
        await asyncio.sleep(0.01)


def compute(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def wait_for_a_core(seconds: float) -> None:
    time.sleep(seconds)  # as if others had the processor


@pytest.mark.parametrize("hold", [compute, wait_for_a_core])
async def test_a_loop_that_is_held_up_misses_beats_and_the_pulse_says_whose_fault_it_is(hold) -> None:
    heart = Heartbeat(lambda: True)
    heart.wake()
    await beats(heart, 3)
    before = heart.pulse
    await asyncio.sleep(0)
    hold(8 * PERIOD_S)
    await beats(heart, 5)
    heart.stop()
    assert heart.pulse.missed >= before.missed + 6
    held = heart.pulse.held - before.held
    assert held >= 6 if hold is compute else held <= 1
    assert f"{heart.pulse.missed} of" in heart.pulse.words


async def test_an_idle_loop_has_no_heartbeat() -> None:
    busy = [True]
    heart = Heartbeat(lambda: busy[0])
    heart.wake()
    heart.wake()
    await beats(heart, 2)
    busy[0] = False
    heart._left = min(heart._left, 2)
    end = time.monotonic() + 30
    while heart.beating:
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
    assert heart.pulse.beats < AFTERMATH + 10


def test_a_heart_that_has_not_beaten_says_so_and_its_memory_is_bounded() -> None:
    heart = Heartbeat(lambda: False)
    assert heart.pulse == Pulse(0, 0, 0, 0.0, 0.0, 0.0)
    assert "no beat yet" in heart.pulse.words
    heart._late_s.extend([0.0] * (KEPT + 50))
    assert heart.pulse.beats == KEPT
