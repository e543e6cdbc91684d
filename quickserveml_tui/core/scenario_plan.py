"""The stretches of load that a scenario is made of; those of `stress` follow from what the ones before gave."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import TypeAlias

from quickserveml_tui.core.bounds import Bound
from quickserveml_tui.core.loads import MAX_REQUESTS, Load, Pattern
from quickserveml_tui.core.scenario_results import Knee, StepFigures
from quickserveml_tui.core.scenarios import OPEN, ScenarioKind, ScenarioSpec

KEPT_UP = 0.95
"""Share of the rate that a target must answer to have kept up with it."""

Plan: TypeAlias = Generator[Load, StepFigures, "Knee | None"]


def warm_up(spec: ScenarioSpec) -> Load | None:
    """The load before the first that counts: a closed loop of the clients, which opens connections; None without one.

    An open loop warms up with few clients: it would otherwise begin with a queue.
    """
    if spec.warmup_s <= 0:
        return None
    clients = min(spec.clients, 8) if spec.kind in OPEN else spec.clients
    return Load(Pattern.CLOSED, spec.warmup_s, concurrency=clients, timeout_s=spec.timeout_s)


def plan(spec: ScenarioSpec) -> Plan:
    """Yields loads and takes their figures; returns the knee where the scenario looks for one."""
    if spec.kind is ScenarioKind.STRESS:
        return (yield from _stress(spec))
    if spec.kind is ScenarioKind.RAMP:
        return (yield from _ramp(spec))
    yield _single_load(spec)
    return None


def judge(spec: ScenarioSpec, figures: StepFigures) -> str:
    """What a step did not hold; empty where it held the bound and kept up with the rate."""
    bound: Bound | None = spec.parsed_bound
    broken = bound.broken_by(figures.by_name()) if bound is not None else ""
    if broken or figures.target_per_s is None or figures.planned < 2:
        return broken
    if figures.answered_per_s < KEPT_UP * figures.target_per_s:
        return f"it answered {figures.answered_per_s:,.4g} of {figures.target_per_s:,.4g} requests a second"
    return ""


def _single_load(spec: ScenarioSpec) -> Load:
    patterns = {
        ScenarioKind.RATE: Pattern.UNIFORM,
        ScenarioKind.SOAK: Pattern.UNIFORM,
        ScenarioKind.POISSON: Pattern.POISSON,
        ScenarioKind.BURST: Pattern.BURST,
    }
    return Load(
        patterns.get(spec.kind, Pattern.CLOSED),
        spec.duration_s,
        rate_per_s=spec.rate_per_s or 0.0,
        concurrency=spec.clients,
        max_requests=spec.requests or MAX_REQUESTS,
        burst_size=spec.burst_size,
        burst_gap_s=spec.burst_gap_s,
        timeout_s=spec.timeout_s,
        seed=spec.seed,
    )


def _step(spec: ScenarioSpec, rate: float, seconds: float, left: int) -> Load:
    return Load(
        Pattern.UNIFORM,
        seconds,
        rate,
        spec.clients,
        max_requests=max(left, 1),
        timeout_s=spec.timeout_s,
        seed=spec.seed,
    )


def _ramp(spec: ScenarioSpec) -> Plan:
    last = spec.rate_from if spec.rate_to is None else spec.rate_to
    left = spec.requests or MAX_REQUESTS
    good, broken = None, ""
    first_bad = None
    for number in range(spec.steps):
        rate = spec.rate_from + (last - spec.rate_from) * number / (spec.steps - 1)
        figures = yield _step(spec, rate, spec.duration_s / spec.steps, left)
        left -= figures.sent
        reason = judge(spec, figures)
        if not reason and first_bad is None:
            good = rate
        elif reason and first_bad is None:
            first_bad, broken = rate, reason
        if left <= 0:
            break
    return Knee(good, first_bad, broken)


def _stress(spec: ScenarioSpec) -> Plan:
    """Raise the rate by the factor until the bound breaks, then halve the distance on a logarithmic scale."""
    rate, top = spec.rate_from, spec.rate_to or math.inf
    left = spec.requests or MAX_REQUESTS
    good: float | None = None
    bad: float | None = None
    broken = ""
    refined = 0
    while left > 0:
        figures = yield _step(spec, rate, spec.duration_s, left)
        left -= figures.sent
        reason = judge(spec, figures)
        if reason:
            bad, broken = rate, reason
        else:
            good = rate
        if bad is None:
            if rate >= top:
                break
            rate = min(rate * spec.factor, top)
        elif good is None or refined >= spec.refine:
            break
        else:
            refined += 1
            rate = math.sqrt(good * bad)
    return Knee(good, bad, broken)
