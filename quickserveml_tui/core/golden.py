"""Golden outputs: how expected and actual outputs are compared, and what a check found."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ValueDifference:
    """One output beside what was expected of it."""

    output: str
    ok: bool
    reason: str = ""
    """One sentence; empty when it agrees."""
    max_abs: float | None = None
    """Largest absolute difference of elements that are finite in both; None where there are no numbers to compare."""
    max_rel: float | None = None
    """Largest difference relative to the expected element."""
    differing: int = 0
    """Elements beyond the tolerance."""
    elements: int = 0
    """Elements compared."""


@dataclass(frozen=True, slots=True)
class GoldenCheck:
    """One golden output, run again."""

    name: str
    ok: bool
    reason: str = ""
    """Why it failed, in one sentence: the first output that differs, or what stopped the run."""
    code: str = ""
    """`golden.differs`, or the code of the error that stopped the run; empty when it is fine."""
    differences: tuple[ValueDifference, ...] = ()
    run_ms: float | None = None


@dataclass(frozen=True, slots=True)
class GoldenReport:
    """All golden outputs of one version, run again."""

    ref: str
    runtime: str = ""
    checks: tuple[GoldenCheck, ...] = field(default_factory=tuple)

    @property
    def ok(self) -> bool:
        """Whether none failed; also when there are none."""
        return all(check.ok for check in self.checks)

    @property
    def failed(self) -> tuple[GoldenCheck, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.ok)
