"""A comparison as text and as a document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quickserveml_tui.cli.documents import error_entry, plain
from quickserveml_tui.core.comparing import Verdict
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.core.units import significant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quickserveml_tui.cli.output import Output
    from quickserveml_tui.cli.work import Narrator
    from quickserveml_tui.core.comparing import (
        ComparedSide,
        Comparison,
        ComparisonFrame,
        ComparisonSpec,
        OutputDifference,
        Paired,
        Side,
    )
    from quickserveml_tui.core.errors import QuickServeError

_MICRO_BELOW_MS = 0.1
_MARKS = {
    Verdict.FASTER: ("▲", "ok"),
    Verdict.SLOWER: ("▼", "warn"),
    Verdict.EQUAL: ("=", "muted"),
    Verdict.INCONCLUSIVE: ("?", "warn"),
}
FOREST_CELLS = 41
_FACTOR = 2.0
_WIDEST = 0.5
"""A forest plot shows at most as much on each side of 1; what lies beyond ends at its edge."""


class ComparisonNarrator:
    """Says how far a comparison is."""

    def __init__(self, narrator: Narrator, sides: Sequence[Side], spec: ComparisonSpec) -> None:
        self._narrator = narrator
        self._sides = sides
        self._spec = spec

    def on_frame(self, frame: ComparisonFrame) -> None:
        """Show a frame."""
        named = f"process {frame.process} of {self._spec.processes}"
        if frame.phase == "loading":
            self._narrator.phase(f"loading {frame.process}", f"loading, {named} …")
            self._narrator.live(f"loading, {named} …")
            return
        self._narrator.phase(frame.phase, f"measuring {len(self._sides)} sides …")
        ratios = [f"{significant(found.ratio, 4)}× {found.verdict}" for found in frame.paired if found is not None]
        done = f"{significant(frame.elapsed_s)} of {significant(self._spec.duration_s)} s"
        self._narrator.live("  ".join([done, plural(frame.rounds, "round"), named, *ratios]))


def percent_text(ratio: float) -> str:
    """A ratio as a signed percentage with a true minus, `+5.2 %`; as a factor, `× 761`, where it is far from 1."""
    if not 1 / _FACTOR < ratio < _FACTOR:
        return f"× {significant(ratio)}"
    return f"{100 * (ratio - 1):+.1f} %".replace("-", "−")


def interval_text(found: Paired) -> str:
    """The interval of a ratio in percent; empty without one."""
    if found.interval is None:
        return ""
    return f"{percent_text(found.interval.low)} to {percent_text(found.interval.high)}"


def outputs_text(difference: OutputDifference | None) -> str:
    """What is said of the outputs of a candidate."""
    if difference is None:
        return ""
    if not difference.compared:
        return f"not compared: {difference.reason}"
    if difference.equal:
        return "the same, bit for bit"
    share = significant(100 * (difference.max_rel or 0))
    return f"differ by at most {significant(difference.max_abs)}, {share} % of the largest value"


def forest_line(found: Paired, threshold: float, widest: float) -> str:
    """One row of a forest plot: the band ± threshold, the line of no difference, interval and ratio."""
    cells = [" "] * FOREST_CELLS

    def place(ratio: float) -> int:
        share = (ratio - 1 + widest) / (2 * widest)
        return min(max(round(share * (FOREST_CELLS - 1)), 0), FOREST_CELLS - 1)

    for cell in range(place(1 / (1 + threshold)), place(1 + threshold) + 1):
        cells[cell] = "┈"
    cells[place(1.0)] = "┆"
    if found.interval is not None:
        for cell in range(place(found.interval.low), place(found.interval.high) + 1):
            cells[cell] = "─"
    cells[place(found.ratio)] = "○" if found.verdict is Verdict.INCONCLUSIVE else "●"
    return "".join(cells)


def forest_reach(found: Comparison) -> float:
    """How far on each side of 1 the forest plot of a comparison goes."""
    reach = 3 * found.spec.threshold
    for side in found.candidates:
        if side.paired is not None:
            bounds = side.paired.interval or None
            ratios = [side.paired.ratio, *((bounds.low, bounds.high) if bounds else ())]
            reach = max(reach, *(1.15 * abs(ratio - 1) for ratio in ratios))
    return min(reach, _WIDEST)


def print_comparison(output: Output, found: Comparison) -> None:
    """Print verdicts with their intervals, the figures of all sides, whether it can be trusted, how to repeat it."""
    rounds = max((side.paired.pairs for side in found.candidates if side.paired), default=0)
    word = f"{plural(rounds, 'round')} in {significant(found.elapsed_s)} s"
    word += f", {plural(found.spec.processes, 'process', 'processes')} each"
    if found.cancelled:
        word += ", cancelled: a partial result"
    output.heading(f"{found.baseline.side.name}  {word}")
    reach = forest_reach(found)
    for side in found.candidates:
        _print_verdict(output, found, side, reach)
    output.line()
    _print_sides(output, found)
    output.line()
    for side in found.candidates:
        output.pairs([(f"Outputs of {side.side.name}", outputs_text(side.outputs))])
    output.pairs(
        [
            ("Machine", f"{found.fingerprint.cpu}, {plural(found.fingerprint.cores, 'core')}"),
            ("Runtime", found.fingerprint.runtime),
            ("Saved as", found.id if found.samples_digest else ""),
        ]
    )
    output.line()
    if found.noisy:
        output.line(f"{output.style('!', 'warn')} Noisy, which all sides shared: {safe_text(found.noise_reason)}")
    else:
        output.line(f"{output.style('✓', 'ok')} Quiet machine.")
    output.line(output.style(safe_text(found.command), "muted"))


def _print_verdict(output: Output, found: Comparison, side: ComparedSide, reach: float) -> None:
    pair = side.paired
    if pair is None:
        return
    mark, role = _MARKS[pair.verdict]
    name = safe_text(side.side.name)
    output.line(f"{output.style(mark, role)} {output.style(f'{name} is {_words(pair, found, side)}', 'bold')}")
    line = output.style(forest_line(pair, found.spec.threshold, reach), "muted")
    output.line(f"  {line}  {interval_text(pair) or pair.reason}")


def _words(pair: Paired, found: Comparison, side: ComparedSide) -> str:
    threshold = f"±{100 * found.spec.threshold:g} %"
    if pair.verdict is Verdict.INCONCLUSIVE:
        return f"neither proven faster nor slower nor equal ({percent_text(pair.ratio)}): {pair.reason}"
    if pair.verdict is Verdict.EQUAL:
        return f"equal within {threshold} ({percent_text(pair.ratio)})"
    words = f"{pair.verdict}: latency {percent_text(pair.ratio)}"
    if side.figures.batch != found.baseline.figures.batch:  # then one inference is more work, and both may be true
        words += (
            f", items a second {percent_text(side.figures.throughput_per_s / found.baseline.figures.throughput_per_s)}"
        )
    return words


def _print_sides(output: Output, found: Comparison) -> None:
    from quickserveml_tui.cli.tables import print_table
    from quickserveml_tui.reports.comparisons import sides_table

    print_table(output, sides_table(found))


def comparison_document(found: Comparison, problem: QuickServeError | None = None) -> dict[str, Any]:
    """A comparison; verdict, ratio, interval and pairs of the first candidate stand on top."""
    first = found.candidates[0].paired
    assert first is not None
    return {
        "id": found.id,
        "created_at": found.created_at,
        "verdict": first.verdict.value,
        "ratio": first.ratio,
        "interval": plain(first.interval),
        "pairs": first.pairs,
        "reason": first.reason,
        "sides": [_side_document(side) for side in found.sides],
        "spec": plain(found.spec),
        "fingerprint": plain(found.fingerprint),
        "elapsed_s": found.elapsed_s,
        "noisy": found.noisy,
        "noise_reason": found.noise_reason,
        "cancelled": found.cancelled,
        "samples_digest": found.samples_digest,
        "saved": bool(found.samples_digest),
        "save_error": None if problem is None else error_entry(problem),
        "command": found.command,
    }


def _side_document(side: ComparedSide) -> dict[str, Any]:
    figures = plain(side.figures)
    del figures["peak_rss_bytes"]
    return {
        "ref": side.side.ref,
        "name": side.side.name,
        "model": side.model,
        "version": side.version,
        "digest": side.digest,
        "spec": plain(side.side.spec),
        **figures,
        "peak_rss_mb": side.figures.peak_rss_mb,
        "paired": plain(side.paired),
        "outputs": plain(side.outputs),
    }
