"""How far the outputs of several models lie apart on the same made-up inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quickserveml_tui.core.comparing import OutputDifference
from quickserveml_tui.core.errors import CancelledError, QuickServeError

if TYPE_CHECKING:
    from quickserveml_tui.core.catalog import Resolved
    from quickserveml_tui.core.feeds import FeedSpec
    from quickserveml_tui.core.jobs import CancelToken
    from quickserveml_tui.core.runners import RunnerPool


def compare_outputs(
    runners: RunnerPool, models: Sequence[tuple[Resolved, FeedSpec]], *, cancel: CancelToken
) -> list[OutputDifference | None]:
    """Outputs of each model beside those of the first, which made the inputs; None for the first itself.

    What cannot be compared says why. Raises `CancelledError`, and what the first one raises.
    """
    base, feed = models[0]
    with runners.borrow() as runner:
        first = runner.predict(Path(base.path), inputs=None, feed=feed, keep_inputs=True, cancel=cancel)
        found: list[OutputDifference | None] = [None]
        for resolved, _feed in models[1:]:
            try:
                second = runner.predict(Path(resolved.path), inputs=first.inputs, feed=feed, cancel=cancel)
            except CancelledError:
                raise
            except QuickServeError as error:
                found.append(OutputDifference(False, error.message))
                if not runner.alive:
                    raise
                continue
            found.append(_difference(first.outputs, second.outputs))
    return found


def _difference(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> OutputDifference:
    from quickserveml_tui.runtime.compare import compare_values

    if set(expected) != set(actual):
        return OutputDifference(False, "Their outputs have other names.")
    found = compare_values(expected, actual, rtol=0.0, atol=0.0)
    broken = next((item for item in found if not item.ok and item.max_abs is None), None)
    if broken is not None:
        return OutputDifference(False, broken.reason)
    scaled = [(_relative(expected[item.output], item.max_abs), item) for item in found if item.max_abs is not None]
    worst = max(scaled, key=lambda entry: entry[0], default=None)
    return OutputDifference(
        True,
        equal=all(item.ok for item in found),
        max_abs=max((item.max_abs for _, item in scaled if item.max_abs is not None), default=None),
        max_rel=worst[0] if worst is not None else None,
        worst_output=worst[1].output if worst is not None and worst[0] > 0 else "",
    )


def _relative(expected: Any, max_abs: float | None) -> float:
    """The difference over the largest absolute value that was expected."""
    import numpy as np

    if not max_abs:
        return 0.0
    values = np.asarray(expected) if isinstance(expected, np.ndarray) and expected.dtype.kind in "fiu" else None
    finite = np.abs(values[np.isfinite(values)]) if values is not None else None
    scale = float(finite.max()) if finite is not None and finite.size else 0.0
    return max_abs / scale if scale else float("inf")
