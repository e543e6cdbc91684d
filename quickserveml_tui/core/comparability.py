"""Which stored runs may be held against each other, and why others may not.

Stored numbers are weaker evidence than an interleaved comparison even where all of this agrees: the machine may have
been in another mood. Where it does not agree they are none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from quickserveml_tui.core.benchmarks import BenchmarkRun, BenchmarkSpec, Fingerprint
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.units import format_bytes


class _Condition(NamedTuple):
    """Something that must agree."""

    name: str
    get: Callable[[Any], Any]
    show: Callable[[Any], str] = str


def _pinning(found: Fingerprint) -> str:
    return "cores of their own" if found.pinned_cpus else "no cores of their own"


def _gibibytes(found: Fingerprint) -> int:
    """Memory as it matters: a kernel's few megabytes more or less do not."""
    return round(found.memory_bytes / 2**30)


_MACHINE = (
    _Condition("the processor", lambda found: found.cpu),
    _Condition("the number of cores", lambda found: found.cores),
    _Condition("the memory", _gibibytes, lambda value: format_bytes(value * 2**30)),
    _Condition("the operating system", lambda found: found.os),
    _Condition("the runtime", lambda found: found.runtime),
    _Condition("the execution provider", lambda found: found.provider),
    _Condition("the frequency governor", lambda found: found.governor or "none"),
    _Condition("the cores that were bound", _pinning),
)
_SETTINGS = (
    _Condition("intra-op threads", lambda spec: spec.intra_op_threads),
    _Condition("inter-op threads", lambda spec: spec.inter_op_threads),
    _Condition("the provider", lambda spec: spec.provider),
    _Condition("the optimisation level", lambda spec: spec.optimization),
    _Condition("spinning", lambda spec: "on" if spec.spinning else "off"),
    _Condition("the inputs", lambda spec: " ".join(spec.feed.to_args()) or "as the model says"),
)


_PLURAL = ("intra-op threads", "inter-op threads", "the inputs", "the cores that were bound")


class Difference(NamedTuple):
    """A condition in which two runs differ, in words."""

    name: str
    first: str
    second: str

    @property
    def sentence(self) -> str:
        """`The processor differs: A and B.`"""
        verb = "differ" if self.name in _PLURAL else "differs"
        return f"{self.name[:1].upper()}{self.name[1:]} {verb}: {self.first} and {self.second}."


def differences(first: BenchmarkRun, second: BenchmarkRun) -> tuple[Difference, ...]:
    """What keeps two stored runs from being compared; empty where nothing does. The model may differ: that is asked."""
    pairs = [
        *((condition, first.fingerprint, second.fingerprint) for condition in _MACHINE),
        *((condition, first.spec, second.spec) for condition in _SETTINGS),
    ]
    found = []
    for condition, one, other in pairs:
        a, b = condition.get(one), condition.get(other)
        if a != b:
            shown = tuple(safe_text(condition.show(value), 200) or "unknown" for value in (a, b))
            found.append(Difference(condition.name, *shown))
    return tuple(found)


def why_not(first: BenchmarkRun, second: BenchmarkRun) -> str:
    """Why two stored runs cannot be compared, in one sentence and a hint; empty where they can."""
    found = differences(first, second)
    if not found:
        return ""
    more = f" {len(found) - 1} more conditions differ." if len(found) > 2 else ""
    second_one = f" {found[1].sentence}" if len(found) == 2 else ""
    return f"{found[0].sentence}{second_one}{more}"


def configuration(run: BenchmarkRun) -> tuple[Any, ...]:
    """Equal for runs that may be compared: what a trend is made of."""
    machine = tuple(condition.get(run.fingerprint) for condition in _MACHINE)
    return machine + tuple(condition.get(run.spec) for condition in _SETTINGS)


def describe_settings(spec: BenchmarkSpec) -> str:
    """What of a spec is not the default, in words; empty where nothing is."""
    default = BenchmarkSpec()
    parts = []
    for condition in _SETTINGS:
        value = condition.get(spec)
        if value != condition.get(default):
            parts.append(f"{condition.name.removeprefix('the ')} {safe_text(value, 100)}")
    return ", ".join(parts)
