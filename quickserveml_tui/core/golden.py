"""Golden outputs: how expected and actual outputs are compared, and what a check found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the first frame of the workbench knows reports, and no models
    from quickserveml_tui.core.models import GoldenOutput
    from quickserveml_tui.core.values import Value

DIFFERS = "golden.differs"
"""Code of golden outputs that are not what the model answers."""


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

    @property
    def differs(self) -> bool:
        """Whether an output differs; failures of other kinds left that open."""
        return any(check.code == DIFFERS for check in self.checks)

    @property
    def count(self) -> str:
        """How many passed, such as `3 of 3`; empty when there are none."""
        return f"{len(self.checks) - len(self.failed)} of {len(self.checks)}" if self.checks else ""


@dataclass(frozen=True, slots=True)
class GoldenContent:
    """A golden output with its values."""

    golden: GoldenOutput
    inputs: dict[str, Value]
    """By input name."""
    outputs: dict[str, Value]
    """By output name: what is expected."""
